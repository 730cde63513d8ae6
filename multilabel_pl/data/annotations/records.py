"""Annotations: which image carries which labels, whatever format said so."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from multilabel_pl.errors import MultipleInputError

SPLITS = ("train", "val", "test")
UNKNOWN_MARK = "?"  # before a tag that nobody knows
MAX_REPORTED = 20  # problems at once


class Row(NamedTuple):
    """An image.

    Attributes:
        table: The file that names it, and the line there.
        line: From 1.
        file: The image.
        tags: Its labels.
        split: `train`, `val`, `test`, or None if the file does not say.
        unknown: Labels of which nobody knows whether the image carries them.
    """

    table: Path
    line: int
    file: Path
    tags: list[str]
    split: str | None
    unknown: list[str] = []  # noqa: RUF012, never changed


class Problem(NamedTuple):
    """A problem in a line of a table."""

    table: Path
    line: int
    text: str


class AnnotationError(MultipleInputError):
    """Problems in tables, a line each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        lines = [f"{problem.table}, line {problem.line}: {problem.text}" for problem in sorted(problems)]
        more = [f"and {len(lines) - MAX_REPORTED} more"] if len(lines) > MAX_REPORTED else []
        super().__init__(lines[:MAX_REPORTED] + more)


@dataclass(frozen=True)
class Annotations:
    """The content of a table.

    Attributes:
        labels: Names of the labels.
        rows: The images without a problem.
        problems: Problems by line.
    """

    labels: list[str]
    rows: list[Row]
    problems: list[Problem]


def find_repeated(rows: Sequence[Row]) -> list[Problem]:
    """Finds images that are listed more than once, in one table or in several."""
    first: dict[Path, Row] = {}
    problems = []
    for row in rows:
        earlier = first.setdefault(row.file, row)
        if earlier is not row:
            text = f"{row.file} is listed already, in {earlier.table}, line {earlier.line}"
            problems.append(Problem(row.table, row.line, text))
    return problems


def targets_of(rows: Sequence[Row], labels: Sequence[str]) -> Tensor:
    """Returns float32 (N, L): 1 where the image carries the label, NaN where that is unknown, else 0.

    Other tags are left out.
    """
    column = {label: index for index, label in enumerate(labels)}
    targets = torch.zeros(len(rows), len(labels))
    for value, named in (1.0, [row.tags for row in rows]), (torch.nan, [row.unknown for row in rows]):
        pairs = [(i, column[tag]) for i, tags in enumerate(named) for tag in tags if tag in column]
        if pairs:
            targets[tuple(torch.tensor(pairs).T)] = value
    return targets


def nowhere_known(rows: Sequence[Row], labels: Sequence[str]) -> list[str]:
    """Returns the labels that are unknown of every image."""
    unknown = Counter(label for row in rows for label in set(row.unknown))
    return [label for label in labels if unknown[label] == len(rows) > 0]
