"""A forest plot of labels: how much the F1 of each differs, with its interval, at places in percent of its width."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from multilabel_pl.model.comparison import LabelComparison

MOST = 40  # labels that are drawn
ROUND = (5, 2, 1)  # first digits of a tick


class Row(NamedTuple):
    """A label.

    Attributes:
        name: Its name.
        low: Where its interval begins, in percent.
        middle: Where the difference is.
        high: Where its interval ends.
        is_certain: Whether 0 is outside of the interval.
        text: The difference in words.
    """

    name: str
    low: float
    middle: float
    high: float
    is_certain: bool
    text: str


class Plot(NamedTuple):
    """A forest plot, with no difference in its middle.

    Attributes:
        rows: Its labels, the best first.
        is_part: Whether more labels have an interval, and only those that differ most are drawn.
        tick: A difference that is marked on both sides.
        tick_offset: How far from the middle, in percent.
    """

    rows: list[Row]
    is_part: bool
    tick: float
    tick_offset: float


def plots(compared: Sequence[Sequence[LabelComparison]]) -> list[Plot]:
    """Plots the labels whose difference has an interval; of many, those that differ most.

    Args:
        compared: The labels of each plot. All plots have one scale.
    """
    known = [[label for label in labels if math.isfinite(label.difference.low)] for labels in compared]
    drawn = [sorted(labels, key=lambda label: -abs(label.difference.value))[:MOST] for labels in known]
    bounds = (abs(bound) for labels in drawn for label in labels for bound in label.difference[1:])
    farthest = max(bounds, default=1) or 1
    tick = _round(farthest)
    return [
        Plot(
            [_row(label, farthest) for label in sorted(labels, key=lambda label: -label.difference.value)],
            is_part=len(labels) < len(all_of_them),
            tick=tick,
            tick_offset=_place(tick, farthest) - 50,
        )
        for labels, all_of_them in zip(drawn, known, strict=True)
    ]


def _row(label: LabelComparison, farthest: float) -> Row:
    value, low, high = label.difference
    low_at, value_at, high_at = (_place(part, farthest) for part in (low, value, high))
    text = f"{label.label}: {value:+.4f} ({low:+.4f} to {high:+.4f})"
    return Row(label.label, low_at, value_at, high_at, not low <= 0 <= high, text)


def _place(difference: float, farthest: float) -> float:
    return round(50 + 50 * difference / farthest, 2)


def _round(farthest: float) -> float:
    """Returns the largest number of one digit, 1, 2 or 5, that is no larger."""
    power = 10.0 ** math.floor(math.log10(farthest))
    return next(digit * power for digit in ROUND if digit * power <= farthest)
