"""A forest plot of labels: how much the F1 of each differs, with its interval, in SVG."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from multilabel_pl.messages import shortened
from multilabel_pl.model.comparison import LabelComparison

MOST = 40  # labels that are drawn
LEFT, RIGHT = 220, 700  # of the plot; names end before it
NAME = 26  # characters


class Row(NamedTuple):
    """A label, at places of the plot.

    Attributes:
        name: Its name, shortened.
        low: Where its interval begins.
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
    """A forest plot.

    Attributes:
        rows: Its labels, the best first.
        is_part: Whether more labels have an interval, and only those that differ most are drawn.
        left: Where it begins; names end before it.
        zero: Where there is no difference.
        right: Where it ends.
    """

    rows: list[Row]
    is_part: bool
    left: int = LEFT
    zero: int = (LEFT + RIGHT) // 2
    right: int = RIGHT


def plot(labels: Sequence[LabelComparison]) -> Plot:
    """Plots the labels whose difference has an interval; of many, those that differ most."""
    known = [label for label in labels if math.isfinite(label.difference.low)]
    drawn = sorted(known, key=lambda label: -abs(label.difference.value))[:MOST]
    drawn.sort(key=lambda label: -label.difference.value)
    farthest = max((max(-label.difference.low, label.difference.high) for label in drawn), default=1)
    return Plot([_row(label, farthest) for label in drawn], is_part=len(drawn) < len(known))


def _row(label: LabelComparison, farthest: float) -> Row:
    value, low, high = label.difference
    places = [(LEFT + RIGHT + (RIGHT - LEFT) * part / (farthest or 1)) / 2 for part in (low, value, high)]
    low_at, value_at, high_at = (round(place, 1) for place in places)
    text = f"{label.label}: {value:+.4f} ({low:+.4f} to {high:+.4f})"
    return Row(shortened(label.label, NAME), low_at, value_at, high_at, not low <= 0 <= high, text)
