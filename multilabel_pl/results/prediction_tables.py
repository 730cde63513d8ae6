"""Predictions as tables: CSV and JSON Lines, in UTF-8; other bytes in file names are escaped."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.data.image_files import ImageFiles
from multilabel_pl.model.prediction import PredictedBatch, name_tags
from multilabel_pl.results.text import paths_from_here
from multilabel_pl.results.true_tags import name_true_tags

TAG_SEPARATOR = "|"
DECIMALS = 6
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")  # that a formula may begin with

Row: TypeAlias = dict[str, Any]  # a row without its probabilities, by the names of the columns
PredictedImages: TypeAlias = LabelledDataset | ImageFiles


class TableFormat(Protocol):
    """A kind of table, whose rows are bytes that can be appended to a file as they come."""

    @property
    def header(self) -> bytes:
        """What the file begins with."""

    def encode(self, rows: Sequence[Row], probabilities: Tensor) -> bytes:
        """Writes rows with their probabilities (B, L)."""

    def finish(self, appended: Path, table: Path) -> None:
        """Makes the file to which all has been appended a table, at a path where there may be an earlier one."""


def columns_of(images: PredictedImages) -> list[str]:
    """Names the columns before those of the labels."""
    if isinstance(images, ImageFiles):
        return ["path", "tags", "error"]
    return ["path" if images.paths else "index", "true_tags", "predicted_tags"]


def rows_of(images: PredictedImages, start: int, batch: PredictedBatch, labels: Sequence[str]) -> list[Row]:
    """Describes the images of a batch, which begins at `start`.

    Labelled images have their path or, without files, their index, and true and predicted tags; files have their path,
    their tags, and the problem of those that can't be read.
    """
    _, tags, metadata = batch
    named = name_tags(tags.cpu(), labels)
    places = range(start, start + len(named))
    paths = [images.paths[place] for place in places] if images.paths else []
    cells: Iterable[tuple[Any, ...]]
    if isinstance(images, ImageFiles):
        found = [tags if problem is None else [] for tags, problem in zip(named, metadata, strict=True)]
        cells = zip(map(str, paths), found, metadata, strict=True)
    else:
        names: Iterable[Any] = paths_from_here(paths) if paths else places
        cells = zip(names, name_true_tags(metadata.cpu(), labels), named, strict=True)
    columns = columns_of(images)
    return [dict(zip(columns, row, strict=True)) for row in cells]


class CsvFormat:
    """CSV, with a column for each label.

    Args:
        columns: Names of the columns before those of the labels.
        labels: Names of the labels.
        spreadsheet: Whether the table is for a spreadsheet, which would take some names for formulas.
    """

    def __init__(self, columns: Sequence[str], labels: Sequence[str], spreadsheet: bool = False) -> None:
        self.names = [*columns, *labels]
        self.spreadsheet = spreadsheet
        self.numbers = ",".join([f"%.{DECIMALS}f"] * len(labels)) + "\n"  # a row at once takes half the time
        self.no_numbers = "," * (len(labels) - 1) + "\n"

    @property
    def header(self) -> bytes:
        """The names of the columns."""
        [line] = self._lines([[*self.names]])
        return _utf_8(line)

    def encode(self, rows: Sequence[Row], probabilities: Tensor) -> bytes:
        """Writes rows with their probabilities (B, L); a file that can't be read has none."""
        texts = self._lines([[_joined(cell) for cell in row.values()] for row in rows])
        numbers = (
            self.no_numbers if row.get("error") else self.numbers % tuple(values)
            for row, values in zip(rows, probabilities.tolist(), strict=True)
        )
        return _utf_8("".join(f"{text[:-1]},{number}" for text, number in zip(texts, numbers, strict=True)))

    def finish(self, appended: Path, table: Path) -> None:
        """Moves the file."""
        appended.replace(table)

    def _lines(self, rows: Sequence[Sequence[Any]]) -> list[str]:
        lines: list[str] = []
        shown = _as_text if self.spreadsheet else str
        writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\n")
        writer.writerows([[shown(cell) if isinstance(cell, str) else cell for cell in row] for row in rows])
        return lines


class JsonLinesFormat:
    """JSON Lines, an object for each image.

    Args:
        columns: Names of its first keys, which the rows have.
        labels: Names of the labels, the keys of `probabilities`.
        spreadsheet: Makes no difference.
    """

    header = b""

    def __init__(self, columns: Sequence[str], labels: Sequence[str], spreadsheet: bool = False) -> None:
        self.labels = labels

    def encode(self, rows: Sequence[Row], probabilities: Tensor) -> bytes:
        """Writes rows with their probabilities (B, L); a file that can't be read has none."""
        return _utf_8("".join(map(self._line, rows, probabilities.tolist())))

    def finish(self, appended: Path, table: Path) -> None:
        """Moves the file."""
        appended.replace(table)

    def _line(self, row: Row, values: Sequence[float]) -> str:
        rounded = (round(value, DECIMALS) for value in values)
        named = {} if row.get("error") else dict(zip(self.labels, rounded, strict=True))
        return json.dumps({**row, "probabilities": named}, ensure_ascii=False) + "\n"


def _joined(cell: Any) -> Any:
    return TAG_SEPARATOR.join(cell) if isinstance(cell, list) else cell


def _as_text(cell: str) -> str:
    """Keeps spreadsheets from taking a cell for a formula (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{cell}" if cell.startswith(FORMULA_SIGNS) else cell


def _utf_8(text: str) -> bytes:
    return text.encode("utf-8", errors="backslashreplace")
