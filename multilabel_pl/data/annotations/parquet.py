"""Tables in Parquet, with pyarrow (the extra `parquet`)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from multilabel_pl.data.annotations.json_records import cell
from multilabel_pl.data.annotations.records import Annotations
from multilabel_pl.data.annotations.tabular import Row, TableFormat, read_table
from multilabel_pl.errors import InputError

ROWS_AT_ONCE = 10_000


def read_parquet(table: Path, folder: Path, columns: TableFormat, labels: Sequence[str] | None = None) -> Annotations:
    """Reads a Parquet file; columns of images within it, and other nested ones, are left out.

    Raises:
        InputError: If pyarrow is not installed, the file is damaged, or as `read_table` does.
    """
    try:
        from pyarrow import ArrowException, types
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InputError(f"{table} is in Parquet, which needs pyarrow: pip install 'multilabel_pl[parquet]'") from error
    try:
        with ParquetFile(table) as file:
            plain = [field.name for field in file.schema_arrow if not types.is_struct(field.type)]
            header = [name.strip() for name in plain]
            return read_table(table, "row", header, _rows(file, plain), folder, columns, labels)
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{table} is a damaged Parquet file: {error}") from None


def _rows(file: Any, names: Sequence[str]) -> Iterator[Row]:
    number = 0
    for batch in file.iter_batches(ROWS_AT_ONCE, columns=names):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            number += 1
            yield number, list(map(cell, values))
