"""The curves of a run: metrics.csv."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from multilabel_pl.atomic import atomic_path


class ResumableCSVLogger(Logger):
    """Writes metrics to a table, a row for what is logged together.

    The file is written as a whole whenever a checkpoint is, and continued by a resumed run, for which Lightning's
    CSVLogger would start over.

    Args:
        path: The file.
        step: Steps that a resumed run has completed; later rows of an earlier file are dropped.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[tuple[int, frozenset[str]], dict[str, Any]] = {}
        if step > 0 and path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    known = {name: value for name, value in row.items() if value}
                    if int(known["step"]) < step:
                        self._add(known, int(known["step"]))

    @property
    def name(self) -> str:
        """Returns nothing: the folder belongs to the run."""
        return ""

    @property
    def version(self) -> str:
        """Returns nothing."""
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Leaves them to config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds a row, replacing an earlier one of the same metrics and step."""
        step = step or 0
        self._add({**metrics, "step": step}, step)

    def _add(self, row: dict[str, Any], step: int) -> None:
        self.rows[step, frozenset(row)] = row

    @rank_zero_only
    def save(self) -> None:
        """Writes the file."""
        names = sorted(set().union(*self.rows.values()))
        with atomic_path(self.path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, fieldnames=names)
            table.writeheader()
            table.writerows(self.rows.values())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what came after the last checkpoint."""
        self.save()
