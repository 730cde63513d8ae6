"""Files written as a whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile

from multilabel_pl.errors import InputError

PARTIAL = ".partial-"  # what names of files that are being written begin with


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path that replaces `path` when the block ends without an error.

    Until then, or if nothing was written, an earlier file at `path` stays untouched. Missing folders are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, hence on the same disk; with the same suffix; of this writer alone.
    partial = path.with_name(f"{PARTIAL}{token_hex(4)}-{path.name}")
    try:
        with errors_named(path, partial):
            yield partial
            if partial.exists():
                partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def errors_named(path: Path, *written: Path) -> Iterator[None]:
    """Lets errors of the system name `path`, which the user knows, rather than what is `written` for it or nothing."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, *map(str, written)):  # none if the disk is full
            error.filename = str(path)
        raise


def check_writable(path: Path) -> None:
    """Checks that a file can be written, before any work is done for it; leaves nothing behind.

    Raises:
        InputError: If the file's folder is not writable, or can't be created.
    """
    try:
        with TemporaryFile(dir=next(folder for folder in path.absolute().parents if folder.exists())):
            pass
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror}; choose another place") from error
