"""Rows on standard output, as they come."""

import os
from typing import BinaryIO

from multilabel_pl.results.unfinished_table import Progress

DESCRIPTOR = 1  # whatever Python's own standard output has been replaced by


class StandardOutput:
    """Takes the rows of a table as a `Part` does, but keeps none."""

    def __init__(self) -> None:
        self.progress = Progress()

    def open(self, header: bytes) -> None:
        """Writes the header."""
        self.file: BinaryIO = os.fdopen(DESCRIPTOR, "wb", closefd=False)
        self._write(header)

    def append(self, rows: bytes, images: int, unreadable: int, is_last: bool) -> None:
        """Writes the rows of a batch."""
        self._write(rows)
        self.progress = self.progress.after(rows, images, unreadable)

    def close(self) -> None:
        """Has nothing to close."""

    def _write(self, rows: bytes) -> None:
        self.file.write(rows)
        self.file.flush()
