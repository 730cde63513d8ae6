"""From the entries of any format to annotations, checked."""

import os
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multilabel_pl.data.annotations.records import SPLITS, UNMARKED, Annotations, Entry, Problem
from multilabel_pl.data.paths import absolute
from multilabel_pl.errors import InputError
from multilabel_pl.messages import note, shortened

PRESENT, UNKNOWN = 1, -1
SPLIT_CODES: dict[str | None, int] = {split: code for code, split in enumerate(SPLITS)} | {None: UNMARKED}


def collect(
    path: Path,
    entries: Iterable[Entry | Problem],
    folder: Path,
    labels: Sequence[str] | None = None,
    allow_outside: bool = False,
) -> Annotations:
    """Brings entries together. Problems with them are collected, so that all can be reported at once.

    Args:
        path: The file or folder that they are from.
        entries: The entries, in order.
        folder: Folder that the images' paths are relative to, and may not leave.
        labels: Names of the labels. If not given: the tags that occur, sorted.
        allow_outside: Whether paths may lead out of the folder.

    Raises:
        InputError: If there is no entry, no label, or one of which nothing is known.
    """
    collector = _Collector(folder, labels, allow_outside)
    for entry in entries:
        collector.add(entry)
    found = collector.annotations(labels)
    if not found.files and not found.problems:
        raise InputError(f"{path} names no image: it must have a line or an entry for each")
    if not found.problems:
        _check_labels(path, found)
    return found


class _Collector:
    """Entries by columns, in arrays that grow: a label is a number, in the order in which labels are first seen."""

    def __init__(self, folder: Path, labels: Sequence[str] | None, allow_outside: bool) -> None:
        self.folder = str(absolute(folder))
        self.inside = os.path.join(self.folder, "")  # noqa: PTH118, with one separator at its end, even if it is /
        self.allow_outside = allow_outside
        self.numbers = {label: number for number, label in enumerate(dict.fromkeys(labels or []))}
        self.is_open = labels is None
        self.files: list[str] = []
        self.groups: list[str] = []
        self.sources: list[str] = []
        self.places, self.splits = array("q"), array("b")
        self.tags, self.tag_counts = array("i"), array("i")
        self.unknown, self.unknown_counts = array("i"), array("i")
        self.problems: list[Problem] = []

    def add(self, entry: Entry | Problem) -> None:
        if isinstance(entry, Problem):
            self.problems.append(entry)
            return
        file = self._file(entry.path)
        if problem := self._problem(entry, file):
            self.problems.append(Problem(entry.source, entry.place, problem))
            return
        self.files.append(file)
        self.groups.append(entry.group)
        self.sources.append(entry.source)
        self.places.append(entry.place)
        self.splits.append(SPLIT_CODES[entry.split])
        self.tags.extend([self.numbers[tag] for tag in entry.tags])
        self.tag_counts.append(len(entry.tags))
        self.unknown.extend([self.numbers[label] for label in entry.unknown])
        self.unknown_counts.append(len(entry.unknown))

    def _file(self, path: str) -> str:
        """Returns the absolute path of an image, not resolved: links may lead where they like."""
        file = os.path.join(self.folder, path)  # noqa: PTH118, a million objects take seconds
        if "\\" in path and not os.path.exists(file):  # noqa: PTH110
            on_windows = os.path.join(self.folder, path.replace("\\", "/"))  # noqa: PTH118
            file = on_windows if os.path.exists(on_windows) else file  # noqa: PTH110
        return os.path.normpath(file)

    def _problem(self, entry: Entry, file: str) -> str | None:
        if not (self.allow_outside or f"{file}{os.sep}".startswith(self.inside)):
            remedy = "name the images' folder with --data.images, or give --data.allow_outside true"
            return f"{shortened(entry.path)} is outside of {self.folder}: {remedy}"
        for label in (*entry.tags, *entry.unknown):
            if label not in self.numbers:
                if not self.is_open:
                    remedy = "correct it, or name it in --data.labels when you train"
                    return f"{shortened(label)} is none of the labels: {remedy}"
                self.numbers[label] = len(self.numbers)
        return None

    def annotations(self, labels: Sequence[str] | None) -> Annotations:
        names = list(labels) if labels is not None else sorted(self.numbers)
        column = {name: index for index, name in enumerate(names)}
        columns = np.array([column[name] for name in self.numbers], dtype=np.int64)
        marks = np.zeros((len(self.files), len(names)), dtype=np.int8)
        for value, numbers, counts in (
            (PRESENT, self.tags, self.tag_counts),
            (UNKNOWN, self.unknown, self.unknown_counts),
        ):
            marks[np.repeat(np.arange(len(marks)), _view(counts)), columns[_view(numbers)]] = value
        return Annotations(
            labels=names,
            files=self.files,
            marks=torch.from_numpy(marks),
            splits=_tensor(self.splits),
            groups=self.groups,
            sources=self.sources,
            places=_tensor(self.places),
            problems=self.problems,
        )


def _view(numbers: "array[int]") -> NDArray[np.int64]:
    return np.frombuffer(numbers, dtype=numbers.typecode)


def _tensor(numbers: "array[int]") -> Tensor:
    return torch.from_numpy(_view(numbers).copy())


def _check_labels(path: Path, found: Annotations) -> None:
    """Checks that there are labels, and that something is known of each."""
    if not found.labels:
        raise InputError(f"{path} has no tag: name labels with --data.labels")
    _note_similar(path, found.labels)
    nowhere = (found.marks == UNKNOWN).all(dim=0)
    if nowhere.any():
        label = found.labels[int(nowhere.nonzero()[0])]
        raise InputError(f"{path} has no image of which {label} is known: leave it out with --data.labels")


def _note_similar(path: Path, labels: Sequence[str]) -> None:
    """Notes two labels that a reader would take for one."""
    first: dict[str, str] = {}
    for label in labels:
        twin = first.setdefault(unicodedata.normalize("NFC", label).casefold(), label)
        if twin != label:
            both = f"{shortened(twin)} and {shortened(label)}"
            note(f"{path} has labels {both}, which differ in case or encoding alone: correct it if they are one")
            return
