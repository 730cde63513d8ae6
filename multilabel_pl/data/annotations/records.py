"""Annotations: which image carries which labels, whatever format said so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from multilabel_pl.errors import MultipleInputError

SPLITS = ("train", "val", "test")
UNMARKED = -1  # instead of an index into these, where the file does not say
UNKNOWN_MARK = "?"  # before a label of which nobody knows whether the image carries it
MAX_REPORTED = 20  # problems at once


class Entry(NamedTuple):
    """An image, as a reader of a format finds it.

    Attributes:
        source: The file that names it, and what is counted there, such as `t.csv, line`.
        place: Its number there; 0 if the file names this image alone.
        path: The image's, absolute or relative to the folder of the images.
        tags: Its labels.
        unknown: Labels of which nobody knows whether the image carries them.
        split: `train`, `val`, `test`, or None if the file does not say.
        group: The name of what it belongs to, such as a patient; empty for none.
    """

    source: str
    place: int
    path: str
    tags: Sequence[str]
    unknown: Sequence[str] = ()
    split: str | None = None
    group: str = ""


class Problem(NamedTuple):
    """A problem with an entry."""

    source: str
    place: int
    text: str

    def __str__(self) -> str:
        return f"{position(self.source, self.place)}: {self.text}"


class AnnotationError(MultipleInputError):
    """Problems with entries, a line each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        lines = list(map(str, sorted(problems)))
        more = [f"and {len(lines) - MAX_REPORTED} more"] if len(lines) > MAX_REPORTED else []
        super().__init__(lines[:MAX_REPORTED] + more)


@dataclass(frozen=True)
class Annotations:
    """Images and their labels, by columns: a million rows of objects would take gigabytes.

    Attributes:
        labels: Names of the labels.
        files: The images, absolute paths.
        marks: int8 (N, L): 1 where the image carries the label, -1 where that is unknown, else 0.
        splits: int8 (N,), indices into `SPLITS`, or `UNMARKED`.
        groups: The name of what each image belongs to; empty for none.
        sources: The source of each image's entry.
        places: Its place there, int64 (N,).
        problems: Those of the entries that are not among the images.
    """

    labels: list[str]
    files: list[str]
    marks: Tensor
    splits: Tensor
    groups: list[str]
    sources: list[str]
    places: Tensor
    problems: list[Problem]

    def __len__(self) -> int:
        return len(self.files)

    @property
    def targets(self) -> Tensor:
        """float32 (N, L): 1 where the image carries the label, NaN where that is unknown, else 0."""
        return self.marks.float().masked_fill_(self.marks < 0, torch.nan)

    def take(self, indices: Tensor) -> "Annotations":
        """Returns the images at `indices` (M,), without the problems."""
        chosen = indices.tolist()
        return Annotations(
            labels=self.labels,
            files=[self.files[i] for i in chosen],
            marks=self.marks[indices],
            splits=self.splits[indices],
            groups=[self.groups[i] for i in chosen],
            sources=[self.sources[i] for i in chosen],
            places=self.places[indices],
            problems=[],
        )

    def in_split(self, split: str) -> "Annotations":
        """Returns the same images, all in one split."""
        return replace(self, splits=torch.full_like(self.splits, SPLITS.index(split)))

    def problem(self, index: int, text: str) -> Problem:
        """Returns a problem with one of the images."""
        return Problem(self.sources[index], int(self.places[index]), text)


def join(parts: Sequence[Annotations]) -> Annotations:
    """Puts together annotations of the same labels."""
    return Annotations(
        labels=parts[0].labels,
        files=_chained(part.files for part in parts),
        marks=torch.cat([part.marks for part in parts]),
        splits=torch.cat([part.splits for part in parts]),
        groups=_chained(part.groups for part in parts),
        sources=_chained(part.sources for part in parts),
        places=torch.cat([part.places for part in parts]),
        problems=[problem for part in parts for problem in part.problems],
    )


def position(source: str, place: int) -> str:
    """Returns where an entry is, in words."""
    return f"{source} {place}" if place else source


def find_repeated(annotations: Annotations) -> list[Problem]:
    """Finds images that are listed more than once, in one file or in several."""
    if len(set(annotations.files)) == len(annotations):
        return []
    first: dict[str, int] = {}
    problems = []
    for index, file in enumerate(annotations.files):
        if (earlier := first.setdefault(file, index)) != index:
            where = position(annotations.sources[earlier], int(annotations.places[earlier]))
            problems.append(annotations.problem(index, f"{file} is listed already, in {where}"))
    return problems


def _chained(lists: Iterable[list[str]]) -> list[str]:
    return list(chain.from_iterable(lists))
