"""Predictions as tables: CSV and JSON Lines, in UTF-8; what else the name of a file may hold is escaped."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

TAG_SEPARATOR = "|"
DECIMALS = 6

Row: TypeAlias = dict[str, Any]  # all of a row but the probabilities, by the names of the columns


def labelled_rows(true_tags: list[list[str]], tags: list[list[str]]) -> list[Row]:
    """Describes labelled images by their index, and by their true and their predicted tags."""
    pairs = enumerate(zip(true_tags, tags, strict=True))
    return [{"index": index, "true_tags": true, "predicted_tags": predicted} for index, (true, predicted) in pairs]


def file_rows(paths: list[Path], tags: list[list[str]], problems: list[str | None]) -> list[Row]:
    """Describes image files by their path, their tags, and what is wrong with those that can't be read."""
    parts = zip(paths, tags, problems, strict=False)  # there are more paths, if only some were predicted
    return [
        {"path": str(path), "tags": names if problem is None else [], "error": problem}
        for path, names, problem in parts
    ]


def _write_csv(rows: list[Row], probabilities: Tensor, labels: list[str], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*rows[0], *labels])
        form = ",".join([f"%.{DECIMALS}f"] * len(labels))  # of a row at once, which takes half the time
        for row, values in zip(rows, probabilities.tolist(), strict=True):
            cells = [TAG_SEPARATOR.join(cell) if isinstance(cell, list) else cell for cell in row.values()]
            numbers = [""] * len(labels) if row.get("error") else (form % tuple(values)).split(",")
            writer.writerow(cells + numbers)


def _write_json_lines(rows: list[Row], probabilities: Tensor, labels: list[str], path: Path) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row, values in zip(rows, probabilities.tolist(), strict=True):
            rounded = (round(value, DECIMALS) for value in values)
            named = {} if row.get("error") else dict(zip(labels, rounded, strict=True))
            file.write(json.dumps({**row, "probabilities": named}, ensure_ascii=False) + "\n")


# What writes a table: its rows, the probabilities (N, L), the labels and the path; by the ending of the path.
TABLES: dict[str, Callable[[list[Row], Tensor, list[str], Path], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
}
