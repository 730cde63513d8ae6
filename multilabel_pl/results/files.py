"""Writing a file as a whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to, which takes the place of `path` once the block has ended without an error.

    An earlier file at `path` stays untouched until then, or if nothing was written. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")  # the same folder, hence the same disk; the same suffix
    try:
        yield partial
        if partial.exists():
            partial.replace(path)
    except OSError as error:
        if error.filename == str(partial):
            error.filename = str(path)  # the name that the user knows
        raise
    finally:
        partial.unlink(missing_ok=True)
