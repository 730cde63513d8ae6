"""Tables in JSON: a record on each line, as in Hugging Face's metadata.jsonl, or a list of records."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from multilabel_pl.data.annotations.records import Annotations
from multilabel_pl.data.annotations.tabular import Row, TableFormat, read_table
from multilabel_pl.errors import InputError

EXAMPLE = '{"path": "a.png", "tags": ["cat"]}'


def read_json_lines(
    table: Path, folder: Path, columns: TableFormat, labels: Sequence[str] | None = None
) -> Annotations:
    """Reads a file with a JSON object on each line.

    Raises:
        InputError: If a line is not an object, or as `read_table` does.
    """
    header = list(dict.fromkeys(name for _, record in _records(table) for name in record))  # in a pass of its own
    rows = _rows(header, _records(table))
    return read_table(table, "line", header, rows, folder, columns, labels)


def read_json_list(
    table: Path, records: Sequence[Any], folder: Path, columns: TableFormat, labels: Sequence[str] | None = None
) -> Annotations:
    """Reads a list of JSON objects.

    Raises:
        InputError: If one is not an object, or as `read_table` does.
    """
    numbered = [(number, _object(f"{table}, record {number}", record)) for number, record in enumerate(records, 1)]
    header = list(dict.fromkeys(name for _, record in numbered for name in record))
    return read_table(table, "record", header, _rows(header, numbered), folder, columns, labels)


def cell(value: Any) -> str:
    """Returns a value as a cell of a CSV table would have it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _records(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with table.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _record(table, number, line)
    except UnicodeDecodeError:
        raise InputError(f"{table} is not a text in UTF-8") from None


def _record(table: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{table}, line {number}: is not JSON: {error}") from None
    return _object(f"{table}, line {number}", record)


def _object(place: str, record: Any) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise InputError(f"{place}: must be an object such as {EXAMPLE}")
    return record


def _rows(header: Sequence[str], records: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[Row]:
    for number, record in records:
        yield number, [cell(record.get(name)) for name in header]
