"""CSV and TSV tables of images and their labels, read and checked line by line."""

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from multilabel_pl.data.annotations.records import (
    SPLITS,
    UNKNOWN_MARK,
    Annotations,
    Problem,
    Row,
    nowhere_known,
)
from multilabel_pl.errors import InputError

SPLIT_SYNONYMS = {"training": "train", "valid": "val", "validation": "val"}
OTHER_DELIMITERS = ",;"  # of tags
FASTAI_SPLIT = "is_valid"
PRESENT = {"1", "1.0", "true"}  # cells, in lower case
ABSENT = {"0", "0.0", "false"}
MINUS_ONE = {"-1", "-1.0"}
UNKNOWN = {"", UNKNOWN_MARK, "nan", *MINUS_ONE}
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas"}


@dataclass(frozen=True)
class TableFormat:
    """What the columns of a table mean.

    Attributes:
        path_column: The column of the images' paths.
        tags_column: The column of their tags; a table without it has a column of 0 and 1 for each label.
        tag_delimiter: Separates two tags of an image.
        split_column: The column of `train`, `val` or `test`, if the table has it.
        allow_outside: Whether paths may lead out of their folder.
    """

    path_column: str = "path"
    tags_column: str = "tags"
    tag_delimiter: str = "|"
    split_column: str = "split"
    allow_outside: bool = False


class _LineError(Exception):
    """A problem in a line."""


def read_csv_table(table: Path, folder: Path, columns: TableFormat, labels: Sequence[str] | None = None) -> Annotations:
    """Reads a table. Problems in its lines are collected, so that all can be reported at once.

    Args:
        table: A CSV file with a header, in UTF-8; with tabs instead of commas if its name ends in .tsv.
        folder: Folder that the paths are relative to, and may not leave.
        columns: What the columns mean.
        labels: Names of the labels. If not given: the tags that occur, sorted, or the columns of 0 and 1 in order.

    Raises:
        InputError: If the file can't be read, or has no line, or lacks a column.
    """
    header, lines = _read_csv(table)
    _check_header(table, header, columns)
    label_columns = _label_columns(table, header, columns, labels)
    reader = _LineReader(table, folder, columns, header, label_columns)
    rows, problems = [], []
    for line, values in lines:
        try:
            rows.append(reader.row(line, values))
        except _LineError as error:
            problems.append(Problem(table, line, str(error)))
    found = label_columns or sorted({tag for row in rows for tag in (*row.tags, *row.unknown)})
    if labels is None and not label_columns:
        _check_tags(table, found, columns)
    names = list(labels) if labels is not None else found
    if not names and not problems:
        raise InputError(f"{table} has no tag in its column {columns.tags_column}: name labels with --data.labels")
    known = set(names)
    problems += [
        Problem(table, row.line, f"{tag} is an unknown label: correct it, or name it in --data.labels when you train")
        for row in rows
        for tag in (*row.tags, *row.unknown)
        if tag not in known
    ]
    if label_columns and not problems:
        _check_minus_one(table, header, lines, label_columns)
    if not problems and (nowhere := nowhere_known(rows, names)):
        raise InputError(f"{table} has no image of which {nowhere[0]} is known: leave it out with --data.labels")
    return Annotations(names, rows, problems)


def _read_csv(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Returns the header, and the cells of the other lines, with the numbers of the lines."""
    if not table.is_file():
        raise InputError(f"there is no table {table}: name it with --data.table")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t" if table.suffix == ".tsv" else ",", strict=True)
            header = [name.strip() for name in next(reader, [])]
            lines = list(_numbered(reader, start=reader.line_num + 1))
    except UnicodeDecodeError:
        raise InputError(f"{table} is not a text in UTF-8: save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{table} is not a table in CSV, line {reader.line_num}: {error}") from None
    if not lines:
        raise InputError(f"{table} names no image: it must have a header and a line for each")
    return header, lines


def _numbered(reader: "csv._reader", start: int) -> Iterator[tuple[int, list[str]]]:  # type: ignore[name-defined]
    """Yields the cells of every line that is not blank, with its number; quoted cells may go over several lines."""
    for cells in reader:
        if cells:
            yield start, [cell.strip() for cell in cells]
        start = reader.line_num + 1


def _check_header(table: Path, header: list[str], columns: TableFormat) -> None:
    if "" in header:
        raise InputError(f"{table} has a column without a name, number {header.index('') + 1}: name it, or delete it")
    if columns.split_column in header and FASTAI_SPLIT in header:
        raise InputError(f"{table} has columns {columns.split_column} and {FASTAI_SPLIT}: delete the one or the other")
    if repeated := next((name for name in header if header.count(name) > 1), None):
        raise InputError(f"{table} has two columns {repeated}")
    if len(header) == 1 and (found := [name for sign, name in OTHER_SEPARATORS.items() if sign in header[0]]):
        raise InputError(f"{table} is separated by {found[0]}: save it with commas, or with tabs and a name in .tsv")
    if columns.path_column not in header:
        raise InputError(
            f"{table} has no column {columns.path_column}, but {', '.join(header)}: name that of the paths with "
            f"--data.path_column"
        )


def _check_tags(table: Path, tags: Sequence[str], columns: TableFormat) -> None:
    """Checks that tags are single ones, neither lists nor made of the same few parts."""
    if tags and all(tag.startswith("[") and tag.endswith("]") for tag in tags):
        raise InputError(f"{table} has lists as tags, such as {tags[0]}: write cat|dog")
    for sign in OTHER_DELIMITERS:
        parts = {part.strip() for tag in tags for part in tag.split(sign)}
        if len(parts) < len(tags):
            example = next(tag for tag in tags if sign in tag)
            remedy = f"give --data.tag_delimiter '{sign}', or, if not, name the labels with --data.labels"
            raise InputError(f"{table} seems to have several tags in one, such as {example}: {remedy}")


def _label_columns(table: Path, header: list[str], columns: TableFormat, labels: Sequence[str] | None) -> list[str]:
    """Returns the columns of 0 and 1, none if there is a column of tags."""
    if columns.tags_column in header:
        return []
    if columns.tags_column != TableFormat.tags_column:
        remedy = "name that of the tags with --data.tags_column"
        raise InputError(f"{table} has no column {columns.tags_column}, but {', '.join(header)}: {remedy}")
    others = [name for name in header if name not in (columns.path_column, columns.split_column)]
    if not others:
        raise InputError(f"{table} has neither a column {columns.tags_column} nor columns of 0 and 1")
    if labels is None:
        return others
    if missing := [label for label in labels if label not in others]:
        raise InputError(f"{table} has no column {missing[0]}, but {', '.join(others)}")
    return list(labels)


def _check_minus_one(
    table: Path, header: list[str], lines: list[tuple[int, list[str]]], label_columns: list[str]
) -> None:
    """Checks that -1 is not meant for absent, as in tables of 1 and -1 alone."""
    places = [header.index(name) for name in label_columns]
    spellings = {values[place].lower() for _, values in lines for place in places}
    if spellings & MINUS_ONE and not spellings & ABSENT:
        raise InputError(f"{table} has columns of 1 and -1 without a 0: -1 is for unknown, write 0 for absent")


@dataclass(frozen=True)
class _LineReader:
    """Reads the lines of a table, one at a time; a problem in one is a `_LineError`."""

    table: Path
    folder: Path
    columns: TableFormat
    header: list[str]
    label_columns: list[str]

    def row(self, line: int, values: list[str]) -> Row:
        if len(values) != len(self.header):
            raise _LineError(f"must have {len(self.header)} cells, as the header has, got {len(values)}")
        cells = dict(zip(self.header, values, strict=True))
        tags, unknown = self._labels(cells) if self.label_columns else self._tags(cells)
        return Row(self.table, line, self._file(cells), tags, self._split(cells), unknown)

    def _file(self, cells: dict[str, str]) -> Path:
        path = cells[self.columns.path_column]
        if not path:
            raise _LineError("has no path")
        file = Path(os.path.normpath(self.folder / path))  # not resolved: links may lead where they like
        if not (self.columns.allow_outside or file.is_relative_to(self.folder)):
            remedy = "name the images' folder with --data.images, or give --data.allow_outside true"
            raise _LineError(f"{path} is outside of {self.folder}: {remedy}")
        return file

    def _tags(self, cells: dict[str, str]) -> tuple[list[str], list[str]]:
        """Returns the tags in the column of tags, and the labels that are unknown."""
        names = [name.strip() for name in cells[self.columns.tags_column].split(self.columns.tag_delimiter)]
        tags = [name for name in names if name and not name.startswith(UNKNOWN_MARK)]
        unknown = [name[1:].strip() for name in names if name.startswith(UNKNOWN_MARK)]
        if "" in unknown:
            raise _LineError(f"{UNKNOWN_MARK} must stand before a label, which is then unknown")
        if both := [name for name in unknown if name in tags]:
            raise _LineError(f"{both[0]} is both a tag and unknown ({UNKNOWN_MARK}{both[0]}): delete the one or the other")
        return tags, unknown

    def _labels(self, cells: dict[str, str]) -> tuple[list[str], list[str]]:
        """Returns the labels whose columns say 1, and those that are unknown."""
        values = {name: cells[name].lower() for name in self.label_columns}
        for name, value in values.items():
            if value not in PRESENT | ABSENT | UNKNOWN:
                remedy = "name a column of tags with --data.tags_column, or those of 0 and 1 with --data.labels"
                raise _LineError(f"column '{name}' must be 0, 1, or ? for unknown, got {cells[name]}: {remedy}")
        return tuple([name for name, value in values.items() if value in kind] for kind in (PRESENT, UNKNOWN))

    def _split(self, cells: dict[str, str]) -> str | None:
        column = self.columns.split_column
        if not cells.get(column):
            return None
        split = SPLIT_SYNONYMS.get(cells[column].lower(), cells[column].lower())
        if split not in SPLITS:
            raise _LineError(f"{column} must be one of {', '.join(SPLITS)}, got {cells[column]}")
        return split
