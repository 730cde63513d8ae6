"""Tables, whatever file they are from: what their columns mean, and their rows as entries."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from multilabel_pl.data.annotations.cells import (
    MISSING,
    VALIDATION_COLUMN,
    Cells,
    MarkCells,
    RowError,
    SplitCell,
    TagsCell,
    is_list,
)
from multilabel_pl.data.annotations.collecting import collect
from multilabel_pl.data.annotations.records import Annotations, Entry, Problem
from multilabel_pl.errors import InputError
from multilabel_pl.messages import abridged, note, shortened

PATH_NAMES = ("file_name", "filename", "fname")  # of Hugging Face, pandas' users and fastai
TAGS_NAMES = ("labels", "label")
INDEX_NAMES = ("", "Unnamed: 0")  # of the column of row numbers that pandas writes
INDEX_LEVEL = re.compile(r"__index_level_\d+__")  # the same in Parquet
OTHER_DELIMITERS = ",; "  # of tags; a blank is usual within one, too

Row: TypeAlias = tuple[int, Cells]  # its number, and what it holds


@dataclass(frozen=True)
class TableFormat:
    """What the columns of a table mean.

    Attributes:
        path_column: The column of the images' paths.
        tags_column: The column of their tags; a table without it has a column of 0 and 1 for each label.
        tag_delimiter: Separates two tags of an image.
        split_column: The column of `train`, `val` or `test`, if the table has it.
        allow_outside: Whether paths may lead out of their folder.
        group_column: The column that says what an image belongs to, such as a patient; None for none.
    """

    path_column: str = "path"
    tags_column: str = "tags"
    tag_delimiter: str = "|"
    split_column: str = "split"
    allow_outside: bool = False
    group_column: str | None = None

    def resolve(self, header: Sequence[str]) -> "TableFormat":
        """Takes other usual names for the columns, such as `Path` and `labels`, where a table has those alone."""
        return replace(
            self,
            path_column=_usual_name(self.path_column, TableFormat.path_column, PATH_NAMES, header),
            tags_column=_usual_name(self.tags_column, TableFormat.tags_column, TAGS_NAMES, header),
            split_column=_usual_name(self.split_column, TableFormat.split_column, (), header),
        )

    def others(self, header: Sequence[str]) -> list[str]:
        """Returns the columns of none of these meanings, but for an index: of 0 and 1, where there is none of tags."""
        used = (self.path_column, self.tags_column, self.split_column, self.group_column, VALIDATION_COLUMN)
        return [name for name in header if name not in used and not INDEX_LEVEL.fullmatch(name)]


def _usual_name(name: str, default: str, others: Sequence[str], header: Sequence[str]) -> str:
    """Returns a column's name, or instead of a default that is not there, a usual one, in any case."""
    found = [column for column in header if column.lower() in (default, *others)]
    return found[0] if name == default and name not in header and len(found) == 1 else name


def read_table(
    table: Path,
    unit: str,
    header: Sequence[str],
    rows: Iterable[Row],
    folder: Path,
    columns: TableFormat,
    labels: Sequence[str] | None,
) -> Annotations:
    """Reads a table.

    Args:
        table: The file.
        unit: What its rows are called there, such as `line`.
        header: Names of the columns.
        rows: The rows.
        folder: Folder that the paths are relative to, and may not leave.
        columns: What the columns mean.
        labels: Names of the labels. If not given: the tags that occur, sorted, or the columns of 0 and 1 in order.

    Raises:
        InputError: If it has no row, or lacks a column.
    """
    if not header:
        raise InputError(f"{table} is empty: it must have a header, and a line for each image")
    columns = columns.resolve(header)
    ignored = _check_header(table, header, columns)
    others = [name for name in columns.others(header) if name not in ignored]
    label_columns = _label_columns(table, header, columns, labels, others)
    if not label_columns and others:
        note(f"{table}: of its columns, these mean nothing: {abridged(others)}")
    reader = _RowReader(table, unit, header, columns, label_columns)
    found = collect(table, reader.entries(rows), folder, label_columns or labels, columns.allow_outside)
    if labels is None and not label_columns:
        _check_tags(table, found.labels, columns)
    return found


def _check_header(table: Path, header: Sequence[str], columns: TableFormat) -> tuple[str, ...]:
    """Returns the names of columns that mean nothing."""
    ignored = tuple(name for name in header[:1] if name in INDEX_NAMES)
    if ignored:
        note(f"{table}: the first column is taken for the numbers of rows that pandas writes, and left out")
    if unnamed := [number for number, name in enumerate(header, 1) if not name and number > 1]:
        raise InputError(f"{table} has a column without a name, number {unnamed[0]}: name it, or delete it")
    if columns.split_column in header and VALIDATION_COLUMN in header:
        both = f"{columns.split_column} and {VALIDATION_COLUMN}"
        raise InputError(f"{table} has columns {both}: delete the one or the other")
    if repeated := next((name for name in header if header.count(name) > 1), None):
        raise InputError(f"{table} has two columns {repeated}")
    wanted = {"path": columns.path_column, "group": columns.group_column}
    if missing := next((kind for kind, name in wanted.items() if name and name not in header), None):
        remedy = f"name that of the {missing}s with --data.{missing}_column"
        raise InputError(f"{table} has no column {wanted[missing]}, but {abridged(header)}: {remedy}")
    return ignored


def _label_columns(
    table: Path, header: Sequence[str], columns: TableFormat, labels: Sequence[str] | None, others: list[str]
) -> list[str]:
    """Returns the columns of 0 and 1, none if there is a column of tags."""
    if columns.tags_column in header:
        return []
    if columns.tags_column != TableFormat.tags_column:
        remedy = "name that of the tags with --data.tags_column"
        raise InputError(f"{table} has no column {columns.tags_column}, but {abridged(header)}: {remedy}")
    if not others:
        raise InputError(f"{table} has neither a column {columns.tags_column} nor columns of 0 and 1")
    if labels is None:
        return others
    if missing := [label for label in labels if label not in others]:
        raise InputError(f"{table} has no column {missing[0]}, but {abridged(others)}")
    return list(labels)


def _check_tags(table: Path, tags: Sequence[str], columns: TableFormat) -> None:
    """Checks that tags are single ones, neither lists nor made of the same few parts, and stand for something."""
    if tags and all(map(is_list, tags)):
        raise InputError(f"{table} has lists as tags, such as {shortened(tags[0])}: write cat|dog")
    if missing := next((tag for tag in tags if tag.lower() in MISSING), None):
        note(f"{table} has a label {missing}: if that marks a missing value, leave those cells empty")
    single = set(tags)
    for sign in OTHER_DELIMITERS:
        found = {tag: [part.strip() for part in tag.split(sign) if part.strip()] for tag in tags if sign in tag}
        parts = {tag: own for tag, own in found.items() if len(own) > 1}
        fewer = len(single.difference(parts).union(*parts.values())) < len(tags)
        example = next((tag for tag, own in parts.items() if fewer or single.issuperset(own)), None)
        if example is None:
            continue
        text = f"{table} seems to have several tags in one, such as {shortened(example)}"
        if fewer and sign != " ":
            remedy = f"give --data.tag_delimiter '{sign}', or, if not, name the labels with --data.labels"
            raise InputError(f"{text}: {remedy}")
        note(f"{text}: if so, give --data.tag_delimiter '{sign}'")


class _RowReader:
    """Turns the rows of a table into entries."""

    def __init__(
        self, table: Path, unit: str, header: Sequence[str], columns: TableFormat, label_columns: Sequence[str]
    ) -> None:
        self.table = table
        self.source = f"{table}, {unit}"
        self.width = len(header)
        self.path = header.index(columns.path_column)
        self.labels: MarkCells | TagsCell
        if label_columns:
            self.labels = MarkCells([header.index(name) for name in label_columns], label_columns)
        else:
            self.labels = TagsCell(header.index(columns.tags_column), columns.tag_delimiter)
        names = [name for name in (columns.split_column, VALIDATION_COLUMN) if name in header]
        self.split = SplitCell(header.index(names[0]), names[0]) if names else None
        self.group = header.index(columns.group_column) if columns.group_column else None

    def entries(self, rows: Iterable[Row]) -> Iterator[Entry | Problem]:
        for number, cells in rows:
            try:
                yield self._entry(number, cells)
            except RowError as error:
                yield Problem(self.source, number, str(error))
        if isinstance(self.labels, MarkCells) and self.labels.takes_minus_one_for_unknown:
            remedy = "-1 is for unknown, write 0 for absent"
            raise InputError(f"{self.table} has columns of 1 and -1 without a 0: {remedy}")

    def _entry(self, number: int, cells: Cells) -> Entry:
        if len(cells) != self.width:
            raise RowError(f"must have {self.width} cells, as the header has, got {len(cells)}")
        path = cells[self.path].strip()
        if not path:
            raise RowError("has no path")
        tags, unknown = self.labels(cells)
        split = self.split(cells) if self.split else None
        group = cells[self.group].strip() if self.group is not None else ""
        return Entry(self.source, number, path, tags, unknown, split, "" if group.lower() in MISSING else group)
