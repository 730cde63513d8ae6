"""Predictions as tables: CSV and JSON Lines, in UTF-8; other bytes in file names are escaped."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from multilabel_pl.results.text import paths_from_here

TAG_SEPARATOR = "|"
DECIMALS = 6
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")  # that a formula may begin with

Row: TypeAlias = dict[str, Any]  # a row without its probabilities, by the names of the columns


def labelled_rows(paths: list[Path] | None, true_tags: list[list[str]], tags: list[list[str]]) -> list[Row]:
    """Describes labelled images by their path or, without files, their index, and by their true and predicted tags."""
    names: list[Row] = (
        [{"path": path} for path in paths_from_here(paths)] if paths else [{"index": i} for i in range(len(tags))]
    )
    parts = zip(names, true_tags, tags, strict=False)  # there are more names, if only some were predicted
    return [{**name, "true_tags": true, "predicted_tags": predicted} for name, true, predicted in parts]


def file_rows(paths: list[Path], tags: list[list[str]], problems: list[str | None]) -> list[Row]:
    """Describes image files by their path, their tags, and the problem of those that can't be read."""
    parts = zip(paths, tags, problems, strict=False)  # there are more paths, if only some were predicted
    return [
        {"path": str(path), "tags": names if problem is None else [], "error": problem}
        for path, names, problem in parts
    ]


def _write_csv(
    rows: list[Row], probabilities: Tensor, labels: Sequence[str], path: Path, spreadsheet: bool = False
) -> None:
    shown = _as_text if spreadsheet else str
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*rows[0], *map(shown, labels)])
        template = ",".join([f"%.{DECIMALS}f"] * len(labels))  # a row at once takes half the time
        for row, values in zip(rows, probabilities.tolist(), strict=True):
            texts = (TAG_SEPARATOR.join(cell) if isinstance(cell, list) else cell for cell in row.values())
            cells = [shown(text) if isinstance(text, str) else text for text in texts]
            numbers = [""] * len(labels) if row.get("error") else (template % tuple(values)).split(",")
            writer.writerow(cells + numbers)


def _as_text(cell: str) -> str:
    """Keeps spreadsheets from taking a cell for a formula (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{cell}" if cell.startswith(FORMULA_SIGNS) else cell


def _write_json_lines(
    rows: list[Row], probabilities: Tensor, labels: Sequence[str], path: Path, spreadsheet: bool = False
) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row, values in zip(rows, probabilities.tolist(), strict=True):
            rounded = (round(value, DECIMALS) for value in values)
            named = {} if row.get("error") else dict(zip(labels, rounded, strict=True))
            file.write(json.dumps({**row, "probabilities": named}, ensure_ascii=False) + "\n")


# Writers of tables by suffix, called with the rows, the probabilities (N, L), the labels, the path, and whether the
# table is for a spreadsheet, which makes no difference to JSON.
TABLES: dict[str, Callable[[list[Row], Tensor, Sequence[str], Path, bool], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
}
