"""Which images train, which validate and which test: as the annotations say, or set aside from the rest."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from multilabel_pl.data.annotations.records import SPLITS, Annotations
from multilabel_pl.data.split import stratified_split
from multilabel_pl.errors import InputError
from multilabel_pl.messages import note

TRAIN, UNMARKED = SPLITS.index("train"), -1


@dataclass(frozen=True)
class Division:
    """How images are divided.

    Attributes:
        sizes: How many images to set aside for `test` and `val` if none are marked, in this order: a number, or, below
            1, a share.
        seed: Seed of what is set aside.
        default: What images that are not marked are; then none are set aside.
    """

    sizes: Mapping[str, float]
    seed: int = 0
    default: str | None = None

    def __call__(self, annotations: Annotations) -> dict[str, Annotations]:
        """Divides images, so that each label keeps its share.

        Raises:
            InputError: If none is left to train on.
        """
        marks = annotations.splits
        if self.default is not None:
            marks = marks.where(marks != UNMARKED, SPLITS.index(self.default))
        chosen = {split: _where(marks == code) for code, split in enumerate(SPLITS)}
        rest = _where((marks == UNMARKED) | (marks == TRAIN))
        whole = len(rest)
        for split, size in self.sizes.items():
            if not len(chosen[split]):
                number = round(size * whole) if size < 1 else int(size)
                if size > number == 0:
                    note(f"{split}_size {size:g} of {whole} images is none")
                rest, chosen[split] = self._set_aside(annotations, rest, number, f"{split}_size {size:g}")
        return {split: annotations.take(indices) for split, indices in {**chosen, "train": rest}.items()}

    def _set_aside(self, annotations: Annotations, among: Tensor, number: int, option: str) -> tuple[Tensor, Tensor]:
        """Returns the indices of the images that stay, and of about `number` others."""
        if number == 0:
            return among, among[:0]
        if number >= len(among):
            raise InputError(f"{option} leaves nothing to train on: it takes {number} of {len(among)} images")
        rest, aside = (among[part] for part in stratified_split(annotations.take(among).targets, number, self.seed))
        if len(aside) > 1.2 * number + 5:  # else it is close enough
            note(f"{option} sets {len(aside)} images aside rather than {number}, so that every label is on both sides")
        return rest, aside


def _where(mask: Tensor) -> Tensor:
    return mask.nonzero().flatten()
