"""CSV and TSV tables, also with semicolons."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from multilabel_pl.data.annotations.records import Annotations
from multilabel_pl.data.annotations.tabular import Row, TableFormat, read_table
from multilabel_pl.errors import InputError

SEPARATORS = {".csv": ",;\t", ".tsv": "\t,;"}  # by the ending of the file's name, likeliest first


def read_csv(table: Path, folder: Path, columns: TableFormat, labels: Sequence[str] | None = None) -> Annotations:
    """Reads a table in UTF-8 with a header, whose cells are separated by commas, semicolons or tabs.

    Args:
        table: The file.
        folder: Folder that the paths are relative to, and may not leave.
        columns: What the columns mean.
        labels: Names of the labels. If not given: the tags that occur, sorted, or the columns of 0 and 1 in order.

    Raises:
        InputError: If the file is not a table, or has no row, or lacks a column.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_separator(file, table.suffix, columns), strict=True)
            try:
                header = [name.strip() for name in next(reader, [])]
                if header == ["sep=", ""]:
                    header = [name.strip() for name in next(reader, [])]
                return read_table(table, "line", header, _numbered(reader), folder, columns, labels)
            except csv.Error as error:
                raise InputError(f"{table} is not a table in CSV, line {reader.line_num}: {error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{table} is not a text in UTF-8: save it as CSV in UTF-8") from None


def _separator(file: TextIO, suffix: str, columns: TableFormat) -> str:
    """Returns what separates the cells of the first line so that it names the paths; else what is usual.

    Excel takes it from a line `sep=;` before the header.
    """
    line = file.readline()
    file.seek(0)
    if named := re.fullmatch(r"sep=(.)\s*", line):
        return named[1]
    candidates = SEPARATORS.get(suffix, SEPARATORS[".csv"])
    headers = {sign: [name.strip().strip('"') for name in line.split(sign)] for sign in candidates}
    usable = [sign for sign, header in headers.items() if columns.resolve(header).path_column in header]
    return max(usable or candidates, key=lambda sign: len(headers[sign]))


def _numbered(reader: "csv._reader") -> Iterator[Row]:  # type: ignore[name-defined]
    """Yields every line that is not blank, with its number; quoted cells may go over several lines."""
    start = reader.line_num + 1
    for cells in reader:
        if cells:
            yield start, cells
        start = reader.line_num + 1
