"""Predictions as a table in Parquet (the extra `parquet`)."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from multilabel_pl.atomic import atomic_path
from multilabel_pl.errors import check_extra
from multilabel_pl.results.prediction_tables import Row
from multilabel_pl.results.text import utf_8

GROUP_SIZE = 2**25  # bytes of probabilities in a row group, of which one at a time is in memory
MAX_GROUP = 2**16  # rows


class ParquetFormat:
    """Parquet, with the probabilities of an image in one list of float32, since there may be thousands of labels.

    The metadata of the schema have the names of the labels, a list in JSON under the key `labels`. Rows are appended in
    Arrow's format for streams, which can be cut after any of its messages; Parquet's ends with an index of all.

    Args:
        columns: Names of the columns before the probabilities.
        labels: Names of the labels.
        spreadsheet: Makes no difference.

    Raises:
        InputError: If PyArrow is not installed.
    """

    def __init__(self, columns: Sequence[str], labels: Sequence[str], spreadsheet: bool = False) -> None:
        check_extra("parquet", "a table in Parquet")
        import pyarrow as pa

        text, tags = pa.string(), pa.list_(pa.string())
        types = {"path": text, "index": pa.int64(), "error": text, "tags": tags, "true_tags": tags}
        types |= {"predicted_tags": tags, "probabilities": pa.list_(pa.float32())}
        fields = [(name, types[name]) for name in (*columns, "probabilities")]
        self.schema = pa.schema(fields, metadata={"labels": json.dumps(list(labels), ensure_ascii=False)})
        self.group = max(1, min(MAX_GROUP, GROUP_SIZE // (4 * len(labels))))

    @property
    def header(self) -> bytes:
        """The schema, as a stream begins with it."""
        content: bytes = self.schema.serialize().to_pybytes()
        return content

    def encode(self, rows: Sequence[Row], probabilities: Tensor) -> bytes:
        """Writes rows with their probabilities (B, L); a file that can't be read has none."""
        import pyarrow as pa

        columns = {name: [_text(row[name]) for row in rows] for name in rows[0]}
        found = [not row.get("error") for row in rows]
        lists = iter(probabilities[found].float().numpy())
        values = pa.array([next(lists) if each else None for each in found], self.schema.field("probabilities").type)
        arrays = [pa.array(column, self.schema.field(name).type) for name, column in columns.items()]
        content: bytes = pa.record_batch([*arrays, values], schema=self.schema).serialize().to_pybytes()
        return content

    def finish(self, appended: Path, table: Path) -> None:
        """Copies the rows, in groups whose size depends on nothing but the number of labels."""
        from pyarrow import parquet

        with atomic_path(table) as partial, parquet.ParquetWriter(partial, self.schema) as writer:
            for group in self._groups(appended):
                writer.write_table(group, row_group_size=self.group)

    def _groups(self, appended: Path) -> Iterator[Any]:
        import pyarrow as pa

        kept: list[Any] = []
        with pa.ipc.open_stream(appended) as stream:
            for batch in stream:
                kept.append(batch)
                if sum(map(len, kept)) >= self.group:
                    rows = pa.Table.from_batches(kept)
                    yield rows.slice(0, self.group)
                    kept = rows.slice(self.group).to_batches()
        if kept:
            yield pa.Table.from_batches(kept, self.schema)


def _text(cell: Any) -> Any:
    """Escapes what is not UTF-8."""
    if isinstance(cell, list):
        return [utf_8(text) for text in cell]
    return utf_8(cell) if isinstance(cell, str) else cell
