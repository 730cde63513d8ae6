"""The rows of a table that is being written, from which a prediction resumes after an interruption.

```text
predictions.csv.part/
  job.json     what the rows are of: the checkpoint, the images, whatever changes a row
  0.rows       rows that the first of the processes has written
  0.json       its journal: how many images, and bytes of rows, can be relied on
```
"""

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from multilabel_pl.atomic import PARTIAL, atomic_path, errors_named
from multilabel_pl.errors import InputError
from multilabel_pl.locks import LOCK, lock_folder
from multilabel_pl.messages import note

SUFFIX = ".part"
JOB = "job.json"
PERIOD = 1.0  # seconds between two entries of a journal, at least,
MAX_PERIOD = 30.0  # and at most,
SHARE = 20  # so that they take a twentieth of the time, on the slowest disk

Job = dict[str, str | int]


@dataclass(frozen=True)
class Progress:
    """What a process has done.

    Attributes:
        images: Images whose rows are written.
        length: Bytes of these rows.
        unreadable: How many of the images can't be read.
    """

    images: int = 0
    length: int = 0
    unreadable: int = 0

    def after(self, rows: bytes, images: int, unreadable: int) -> "Progress":
        """Returns the progress after the rows of so many images more."""
        return Progress(self.images + images, self.length + len(rows), self.unreadable + unreadable)


def part_folder(table: Path) -> Path:
    """Returns the folder of the rows of an unfinished table, beside it."""
    return table.with_name(table.name + SUFFIX)


def open_folder(table: Path, job: Job, restart: bool) -> TextIO:
    """Prepares the folder of the rows, empty unless it has rows of the same job.

    Args:
        table: The table.
        job: What the rows are of.
        restart: Whether rows of the same job are thrown away, too.

    Returns:
        A lock, which other processes find as long as it is open.

    Raises:
        InputError: If another process has the lock, or the folder is something else.
    """
    folder = part_folder(table)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder; delete it, or choose another output")
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(folder)
    before = _read_json(folder / JOB)
    if before == job and not restart:
        return lock
    if different := [name for name in job if before and before.get(name) != job[name]]:
        note(f"{folder} is of a prediction that differs in {', '.join(different)}: starting from scratch")
    _clear(folder)
    try:
        with errors_named(table, folder / JOB):
            _write_json(folder / JOB, job)
    except OSError:
        close_folder(folder, lock)
        raise
    return lock


def close_folder(folder: Path, lock: TextIO) -> None:
    """Deletes the rows, and the folder unless it has other files."""
    _clear(folder)
    (folder / LOCK).unlink(missing_ok=True)
    lock.close()
    with suppress(OSError):
        folder.rmdir()


class Part:
    """The rows that one process appends to a table.

    Whatever ends the process, its journal is of rows that are on disk. It never counts the last batch, so that there is
    something left to do when the prediction resumes.

    Args:
        table: The table.
        rank: Index of the process.

    Attributes:
        progress: What is done, those images included that the journal counts.
    """

    def __init__(self, table: Path, rank: int) -> None:
        self.table = table
        self.folder = part_folder(table)
        self.path = _rows(self.folder, rank)
        self.journal = _journal(self.folder, rank)
        self.progress = self.recorded = read_progress(table, rank)
        self.file: BinaryIO | None = None  # from `open` on

    def open(self, header: bytes) -> None:
        """Cuts off what the journal doesn't count, or begins with a header."""
        with self._errors_named():
            file = self.path.open("r+b" if self.progress.images else "wb")
            file.truncate(self.progress.length)
            file.seek(self.progress.length)
            if not self.progress.images:
                file.write(header)
                self.progress = self.recorded = Progress(length=len(header))
        self.file = file
        self.due = time.monotonic() + PERIOD

    def append(self, rows: bytes, images: int, unreadable: int, is_last: bool) -> None:
        """Writes the rows of a batch and, when it is due, the journal."""
        assert self.file is not None
        with self._errors_named():
            self.file.write(rows)
        self.progress = self.progress.after(rows, images, unreadable)
        if not is_last:
            self.recorded = self.progress
        if time.monotonic() >= self.due:
            self.save()

    def save(self) -> None:
        """Brings the rows to the disk, and then the journal, if there are any."""
        if self.file is None:
            return
        start = time.monotonic()
        with self._errors_named():
            self._flush(self.file)
            _write_json(self.journal, asdict(self.recorded))
        end = time.monotonic()
        self.due = end + min(max(PERIOD, SHARE * (end - start)), MAX_PERIOD)

    def close(self) -> None:
        """Brings all rows to the disk."""
        file, self.file = self.file, None
        assert file is not None
        with self._errors_named(), file:
            self._flush(file)

    def stop(self) -> None:
        """Saves what can be saved, and closes the file: called for an error, maybe one of writing."""
        with suppress(OSError):
            self.save()
        if self.file is not None:
            with suppress(OSError):  # what is not written yet can't be
                self.file.close()

    def join(self, processes: int) -> None:
        """Appends the rows of the other processes to those of the first; the journal does not count them."""
        with self._errors_named(), self.path.open("ab") as file:
            for rank in range(1, processes):
                with _rows(self.folder, rank).open("rb") as rows:
                    shutil.copyfileobj(rows, file)

    def _flush(self, file: BinaryIO) -> None:
        file.flush()
        os.fsync(file.fileno())

    def _errors_named(self) -> AbstractContextManager[None]:
        return errors_named(self.table, self.path, self.journal)


def read_progress(table: Path, rank: int) -> Progress:
    """Reads the journal of a process; nothing was done if it is missing, damaged, or of more rows than there are."""
    folder = part_folder(table)
    try:
        progress = Progress(**_read_json(_journal(folder, rank)))
        is_whole = progress.images > 0 and _rows(folder, rank).stat().st_size >= progress.length
    except (OSError, TypeError):
        return Progress()
    return progress if is_whole else Progress()


def _rows(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.rows"


def _journal(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.json"


def _clear(folder: Path) -> None:
    """Deletes what may be left of a prediction, and nothing else."""
    for pattern in (JOB, "[0-9]*.json", "[0-9]*.rows", f"{PARTIAL}*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _read_json(path: Path) -> Any:
    """Returns the content of a file, an empty one if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}


def _write_json(path: Path, content: Mapping[str, str | int]) -> None:
    """Writes a file as a whole or not at all, even if the machine loses its power."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
