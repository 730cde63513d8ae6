"""Splits of images: at random, or such that every label keeps its share."""

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multilabel_pl.errors import InputError

Tags: TypeAlias = NDArray[np.bool_]  # (N, L); every image has the last label, so that its count is the size
Counts: TypeAlias = NDArray[np.float64]  # (2, L): images of each label that stay (row 0) and that are set aside (row 1)
Sides: TypeAlias = NDArray[np.int64]  # (N,): each image's row in the counts, -1 until it has one


def split_indices(size: int, val_size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draws a validation set at random, with a generator of its own.

    Args:
        size: Number of images.
        val_size: Number of images to set aside; 0 for none.
        seed: Seed of this split alone.

    Returns:
        The indices of the training images (size - val_size,) and of the validation images (val_size,), both ascending.

    Raises:
        InputError: If `val_size` leaves no image to train on, or is negative.
    """
    if not 0 <= val_size < size:
        raise InputError(f"val_size must be in [0, {size}), got {val_size}: set --data.val_size")
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    return order[val_size:].sort().values, order[:val_size].sort().values


def stratified_split(targets: Tensor, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sets images aside so that every label keeps its share on both sides, by iterative stratification.

    The algorithm is that of Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD
    2011. Beyond it, a label of two or more images gets at least one on each side. That can be impossible: of three
    images tagged a and b, b and c, c and a, two are on the same side, and so is the label they share. Where it is
    possible, it is nearly always found, but not every way is tried.

    Args:
        targets: (N, L): 1, 0, or NaN where unknown, which counts for neither side.
        size: Number of images to set aside; 0 for none. It is missed where labels need more images on a side.
        seed: Seed of this split alone.

    Returns:
        The indices of the images that stay (about N - size,) and of those set aside (about size,), both ascending.

    Raises:
        InputError: If `size` leaves no image to train on, or is negative.
    """
    if not 0 < size < len(targets):
        return split_indices(len(targets), size, seed)  # none set aside, or the error
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    tags = (targets > 0)[order].numpy()
    counts = tags.sum(axis=0)
    rarest_first = [label for label in counts.argsort(kind="stable") if counts[label] > 1]  # one image can't be on both
    tags = np.column_stack([tags[:, rarest_first], np.ones(len(tags), dtype=bool)])
    want = np.outer([len(tags) - size, size], tags.sum(axis=0)) / len(tags)
    sides, have = _assign(tags, want)
    _repair(tags, sides, have, want)
    chosen = torch.from_numpy(sides == 1)
    return order[~chosen].sort().values, order[chosen].sort().values


def _assign(tags: Tags, want: Counts) -> tuple[Sides, Counts]:
    """Assigns every image to a side, starting with the label that has the fewest images left.

    Returns the sides and each label's counts on them.
    """
    left = tags.sum(axis=0)  # (L,), images without a side
    sides, have = np.full(len(tags), -1), np.zeros_like(want)
    while left.any():
        least = np.where(left > 0, left + have.all(axis=0) / 2, np.inf)  # of equals, first those missing on a side
        label = int(least.argmin())
        images = np.flatnonzero(tags[:, label] & (sides < 0))
        for image in images:
            side = _better_side(have, want, label)
            sides[image] = side
            have[side] += tags[image]
        left -= tags[images].sum(axis=0)
    return sides, have


def _better_side(have: Counts, want: Counts, label: int) -> int:
    """Chooses the side where the label is missing, else one that is not full, else the one short of more."""
    stays, aside = (
        (h[label] == 0, h[-1] < w[-1], w[label] - h[label], w[-1] - h[-1]) for h, w in zip(have, want, strict=True)
    )
    return int(aside > stays)


def _repair(tags: Tags, sides: Sides, have: Counts, want: Counts) -> None:
    """Brings labels to the side where they are missing, if an image can be moved there, or swapped with another."""
    for side, label in np.argwhere(have == 0):
        if have[side, label] == 0:  # still: an image moved before may have carried it too
            _move_one(tags, sides, have, tags[:, label], 1 - side)
        if have[side, -1] > want[side, -1]:
            _move_one(tags, sides, have, tags[:, -1], side)


def _move_one(tags: Tags, sides: Sides, have: Counts, among: NDArray[np.bool_], side: int) -> None:
    """Moves one of the images `among` (N,) away from a side, if there is one that isn't the last of any label there."""
    movable = among & (sides == side) & ~tags[:, have[side] == 1].any(axis=1)
    for image in np.flatnonzero(movable)[:1]:
        sides[image] = 1 - side
        have[side] -= tags[image]
        have[1 - side] += tags[image]
