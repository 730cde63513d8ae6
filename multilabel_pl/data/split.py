"""Splits of images: at random, or such that every label keeps its share."""

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multilabel_pl.errors import InputError

Tags: TypeAlias = NDArray[np.bool_] | NDArray[np.int64]  # (G, L): images of a group, each of which has the last label
Counts: TypeAlias = NDArray[np.float64]  # (2, L): images of each label that stay (row 0) and that are set aside (row 1)
Sides: TypeAlias = NDArray[np.int64]  # (G,): each group's row in the counts, -1 until it has one
FIRST_MOVES = 8  # that are tried with the best second one
LEAST_CHANGE = 1e-9  # above rounding
MAX_CHANGES = 200_000  # groups to look at in search of the best exchanges; many small ones need none


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


def stratified_split(targets: Tensor, size: int, seed: int, groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Sets images aside so that every label keeps its share on both sides, by iterative stratification.

    The algorithm is that of Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD
    2011. Beyond it, a label of two or more images gets at least one on each side. That can be impossible: of three
    images tagged a and b, b and c, c and a, two are on the same side, and so is the label they share. Where it is
    possible, it is nearly always found, but not every way is tried.

    Args:
        targets: (N, L): 1, 0, or NaN where unknown, which counts for neither side.
        size: Number of images to set aside; 0 for none. It is missed where labels need more images on a side.
        seed: Seed of this split alone.
        groups: The number of each image's group, int64 (N,): all images of a group are on the same side. Each image is
            a group of its own if not given.

    Returns:
        The indices of the images that stay (about N - size,) and of those set aside (about size,), both ascending.

    Raises:
        InputError: If `size` leaves no image to train on, or is negative.
    """
    if not 0 < size < len(targets):
        return split_indices(len(targets), size, seed)  # none set aside, or the error
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    tags = (targets > 0)[order].numpy()
    members, tags = (np.arange(len(tags)), tags) if groups is None else _by_group(tags, groups[order].numpy())
    counts = tags.sum(axis=0)
    can_be_on_both = np.count_nonzero(tags, axis=0) > 1
    rarest_first = [label for label in counts.argsort(kind="stable") if can_be_on_both[label]]
    ones = np.bincount(members).astype(tags.dtype)
    tags = np.column_stack([tags[:, rarest_first], ones])
    want = np.outer([len(order) - size, size], tags.sum(axis=0)) / len(order)
    sides, have = _assign(tags, want)
    _repair(tags, sides, have, want)
    if groups is not None:
        _exchange(tags, sides, have, want)
    chosen = torch.from_numpy(sides[members] == 1)
    return order[~chosen].sort().values, order[chosen].sort().values


def _by_group(tags: NDArray[np.bool_], groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], Tags]:
    """Returns each image's group (N,), numbered in the order of their first images, and the groups' counts (G, L)."""
    _, first, members = np.unique(groups, return_index=True, return_inverse=True)
    members = first.argsort().argsort()[members]
    in_order = members.argsort(kind="stable")
    starts = np.searchsorted(members[in_order], np.arange(len(first)))
    return members, np.add.reduceat(tags[in_order].astype(np.int64), starts, axis=0)


def _assign(tags: Tags, want: Counts) -> tuple[Sides, Counts]:
    """Assigns every group to a side, starting with the label that has the fewest images left.

    Returns the sides and each label's counts on them.
    """
    left = tags.sum(axis=0)  # (L,), images without a side
    sides, have = np.full(len(tags), -1), np.zeros_like(want)
    while left.any():
        least = np.where(left > 0, left + have.all(axis=0) / 2, np.inf)  # of equals, first those missing on a side
        label = int(least.argmin())
        groups = np.flatnonzero((tags[:, label] > 0) & (sides < 0))
        largest_first = groups[np.argsort(-tags[groups, -1].astype(np.int64), kind="stable")]  # small ones fill gaps
        for group in largest_first:
            side = _better_side(have, want, label, int(tags[group, -1]))
            sides[group] = side
            have[side] += tags[group]
        left -= tags[groups].sum(axis=0)
    return sides, have


def _better_side(have: Counts, want: Counts, label: int, size: int) -> int:
    """Chooses the side where the label is missing, else one with room, else the one short of more.

    Half of a group should fit; but a single image goes where its label is missing, whether there is room or not.
    """
    stays, aside = (
        (
            h[label] == 0 and (size == 1 or h[-1] + size / 2 <= w[-1]),
            h[-1] + size / 2 <= w[-1],
            w[label] - h[label],
            w[-1] - h[-1],
        )
        for h, w in zip(have, want, strict=True)
    )
    return int(aside > stays)


def _repair(tags: Tags, sides: Sides, have: Counts, want: Counts) -> None:
    """Brings labels to the side where they are missing, if a group can be moved there, or swapped with another."""
    for side, label in np.argwhere(have == 0):
        if have[side, label] == 0:  # still: a group moved before may have carried it too
            _move_one(tags, sides, have, tags[:, label] > 0, 1 - side)
        if have[side, -1] > want[side, -1]:
            _move_one(tags, sides, have, tags[:, -1] > 0, side)


def _move_one(tags: Tags, sides: Sides, have: Counts, among: NDArray[np.bool_], side: int) -> None:
    """Moves the smallest of the groups `among` (G,) away from a side, if one isn't the last of any label there."""
    candidates = np.flatnonzero(among & (sides == side))
    for group in candidates[tags[candidates, -1].argsort(kind="stable")]:
        if not ((tags[group] > 0) & (tags[group] == have[side])).any():
            _move(tags, sides, have, group)
            return


def _exchange(tags: Tags, sides: Sides, have: Counts, want: Counts) -> None:
    """Moves groups, one or two at a time, while that brings shares closer to what they should be.

    Single images fill every gap that others leave, and need no such thing; few large groups do.
    """
    for _ in range(MAX_CHANGES // len(tags)):
        change, moves = _best_exchange(tags, sides, have, want)
        if change > -LEAST_CHANGE:
            return
        for group in moves:
            _move(tags, sides, have, group)


def _best_exchange(tags: Tags, sides: Sides, have: Counts, want: Counts) -> tuple[float, list[int]]:
    """Returns the change of the distance, and the groups to move."""
    changes = _changes(tags, sides, have, want)
    plans: list[tuple[float, list[int]]] = [(0.0, [])]
    for first in changes.argsort()[:FIRST_MOVES].tolist():
        after = sides.copy(), have.copy()
        _move(tags, *after, first)
        more = _changes(tags, *after, want)
        second = int(more.argmin())
        plans += [(changes[first], [first]), (changes[first] + more[second], [first, second])]
    return min(plans)


def _changes(tags: Tags, sides: Sides, have: Counts, want: Counts) -> NDArray[np.float64]:
    """Returns how the chi-squared distance of the counts set aside would change by moving each group, (G,).

    It is infinite for the last group of a label on its side.
    """
    weights = 1 / np.maximum(want[1], 1)
    toward = np.where(sides == 0, 1, -1)
    changes = tags**2 @ weights + 2 * toward * (tags @ (weights * (have[1] - want[1])))
    is_last = ((tags > 0) & (tags == have[sides])).any(axis=1)
    return np.where(is_last, np.inf, changes)


def _move(tags: Tags, sides: Sides, have: Counts, group: int) -> None:
    side = sides[group]
    sides[group] = 1 - side
    have[side] -= tags[group]
    have[1 - side] += tags[group]
