"""Which images train, which validate and which test: as the annotations say, or set aside from the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from multilabel_pl.data.annotations.groups import find_copies, groups_of
from multilabel_pl.data.annotations.records import SPLITS, UNMARKED, Annotations
from multilabel_pl.data.split import stratified_split
from multilabel_pl.errors import InputError
from multilabel_pl.messages import note, warn

TRAIN, LEFT_OUT = SPLITS.index("train"), -2  # beside UNMARKED
MAX_NAMED = 3  # pairs of images


@dataclass(frozen=True)
class Division:
    """How images are divided: each label keeps its share, and groups and copies of an image stay together.

    Attributes:
        sizes: How many images to set aside for `test` and `val` if none are marked, in this order: a number, or, below
            1, a share.
        seed: Seed of what is set aside.
        default: What images that are not marked are; then none are set aside.
        folds: Into how many parts to divide the images, one of which tests; None for a test set of the size above.
        fold: Which part, from 0.
    """

    sizes: Mapping[str, float]
    seed: int = 0
    default: str | None = None
    folds: int | None = None
    fold: int = 0

    def __call__(self, annotations: Annotations) -> dict[str, Annotations]:
        """Divides images.

        Raises:
            InputError: If none is left to train on, or folds are asked for where test images are marked.
        """
        copies = find_copies(annotations.files)
        _note_copies(annotations.files, copies)
        groups = groups_of(annotations.groups, copies)
        marks = annotations.splits
        if self.default is not None:
            marks = marks.where(marks != UNMARKED, SPLITS.index(self.default))
        if groups is not None:
            marks = _undivided(marks, groups, annotations.files)
        chosen = {split: _where(marks == code) for code, split in enumerate(SPLITS)}
        chosen["train"] = _where((marks == UNMARKED) | (marks == TRAIN))
        if self.default is None:
            self._set_aside(chosen, _Aside(annotations.marks, groups, self.seed))
        return {split: annotations.take(indices) for split, indices in chosen.items()}

    def _set_aside(self, chosen: dict[str, Tensor], aside: "_Aside") -> None:
        """Moves training images to the splits of which none are marked."""
        if self.folds is not None:
            if len(chosen["test"]):
                raise InputError(f"folds {self.folds} sets test images aside, but some are marked: leave out the marks")
            chosen["train"], chosen["test"] = aside.fold(chosen["train"], self.folds, self.fold)
        whole = len(chosen["train"])
        for split, size in self.sizes.items():
            if not len(chosen[split]):
                number = round(size * whole) if size < 1 else int(size)
                if size > number == 0:
                    note(f"{split}_size {size:g} of {whole} images is none")
                chosen["train"], chosen[split] = aside(chosen["train"], number, f"{split}_size {size:g}")


@dataclass(frozen=True)
class _Aside:
    """Sets images aside.

    Attributes:
        targets: 1 where an image carries a label, (N, L), of all images.
        groups: Their groups, int64 (N,), if they have any.
        seed: Seed of what is set aside.
    """

    targets: Tensor
    groups: Tensor | None
    seed: int

    def __call__(self, among: Tensor, number: int, option: str) -> tuple[Tensor, Tensor]:
        """Returns the indices of the images that stay, and of about `number` others."""
        if number == 0:
            return among, among[:0]
        if number >= len(among):
            raise InputError(f"{option} leaves nothing to train on: it takes {number} of {len(among)} images")
        groups = self.groups[among] if self.groups is not None else None
        rest, aside = (among[part] for part in stratified_split(self.targets[among], number, self.seed, groups))
        if not len(rest) or not len(aside):
            raise InputError(f"{option} can't be set aside: {len(among)} images are of too few groups, or copies")
        if abs(len(aside) - number) > 0.2 * number + 5:  # else it is close enough
            reason = "so that every label is on both sides" if groups is None else "so that groups stay together"
            note(f"{option} sets {len(aside)} images aside rather than {number}, {reason}")
        return rest, aside

    def fold(self, among: Tensor, folds: int, fold: int) -> tuple[Tensor, Tensor]:
        """Returns the indices of the images outside of one of as many parts of equal size, and in it."""
        rest = among
        for part in range(fold + 1):
            if part == folds - 1:
                aside = rest
            else:
                rest, aside = self(rest, round(len(rest) / (folds - part)), f"fold {part} of {folds}")
        return among[~torch.isin(among, aside)], aside


def _undivided(marks: Tensor, groups: Tensor, files: Sequence[str]) -> Tensor:
    """Leaves out images that belong with marked ones: of validation with test images, of others with either."""
    numbers = torch.arange(len(marks))
    for split in ("val", "test"):  # the test images stay as they are
        code = SPLITS.index(split)
        first = torch.full_like(groups, -1).scatter_(0, groups[marks == code], numbers[marks == code])  # by group
        twins = first[groups]
        out = _where((twins >= 0) & (marks < code) & (marks != LEFT_OUT))
        if len(out):
            image, twin = int(out[0]), int(twins[out[0]])
            example = f"{Path(files[image]).name} with {Path(files[twin]).name}"
            warn(f"{len(out)} images are left out, as they belong with marked {split} images, such as {example}")
        marks = marks.index_fill(0, out, LEFT_OUT)
    return marks


def _note_copies(files: Sequence[str], copies: Sequence[Sequence[int]]) -> None:
    if copies:
        count = sum(len(indices) - 1 for indices in copies)
        pairs = [f"{Path(files[other]).name} of {Path(files[first]).name}" for first, other, *_ in copies[:MAX_NAMED]]
        note(f"{count} images are copies of others, which they stay with: {', '.join([*pairs, '…'][:count])}")


def _where(mask: Tensor) -> Tensor:
    return mask.nonzero().flatten()
