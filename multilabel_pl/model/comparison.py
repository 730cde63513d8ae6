"""Two evaluations of the same images: how their metrics differ, and how certain that is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.intervals import (
    ENOUGH,
    Estimate,
    Interval,
    accuracy_estimate,
    decision_estimates,
    errors_at_once,
)

LEADING = ("exact_match", "f1_macro", "f1_micro", "map", "label_accuracy")


class LabelComparison(NamedTuple):
    """A label in two evaluations, the first one and another.

    Attributes:
        label: Its name.
        images: How many images are known to carry it.
        f1: Its F1 in the first, and in the other.
        difference: That of the other less that of the first.
        better: Images whose decision is right in the other alone.
        worse: Images whose decision is right in the first alone.
        average_precision: In the first, and in the other.
    """

    label: str
    images: int
    f1: tuple[float, ...]
    difference: Interval
    better: int
    worse: int
    average_precision: tuple[float, ...]


class Comparison(NamedTuple):
    """An evaluation less the first one, on the same images.

    Attributes:
        metrics: The differences of the LEADING metrics, by name, with 95 % intervals of each.
        labels: Each label; the intervals of all of them hold at once in 95 % of cases.
    """

    metrics: dict[str, Interval]
    labels: list[LabelComparison]


def compare(first: Evaluation, other: Evaluation) -> Comparison:
    """Compares evaluations of the same images and labels, both in the same order.

    Intervals are paired: images that both tag alike add nothing to their width. With fewer than ten images that carry a
    label, that the two tag differently or, for exact match, that one alone tags right, they would be too narrow, and
    there are none: their bounds are NaN.
    """
    differ = (first.tags != other.tags) & first.known
    tagged = int(differ.any(dim=1).sum())
    differing = dict.fromkeys(LEADING, tagged) | {"exact_match": int((first.wrong != other.wrong).sum())}
    before, after = _leading(first), _leading(other)
    metrics = {name: after[name].minus(before[name]) for name in LEADING}
    few = [name for name in LEADING if name != "map" and differing[name] < ENOUGH]
    metrics |= {name: _without_bounds(metrics[name].value) for name in few}
    return Comparison(metrics, _compare_labels(first, other, differ))


def in_order(evaluation: Evaluation, labels: Sequence[str]) -> Evaluation:
    """Returns an evaluation with its labels in another order."""
    order = [evaluation.labels.index(label) for label in labels]
    decision = Decision(labels, 0.5, evaluation.decision.calibrate)
    decision.load_state_dict({name: values[order] for name, values in evaluation.decision.state_dict().items()})
    return Evaluation(decision, evaluation.uncalibrated[:, order], evaluation.targets[:, order], evaluation.loss)


def _leading(evaluation: Evaluation) -> dict[str, Estimate]:
    return {**evaluation.estimates, "label_accuracy": accuracy_estimate(evaluation.tags, evaluation.targets)}


def _compare_labels(first: Evaluation, other: Evaluation, differ: Tensor) -> list[LabelComparison]:
    """Compares label by label; `differ`, bool (N, L), says where they decide differently."""
    images = first.truth.sum(dim=0)
    has_interval = (images >= ENOUGH) & (differ.sum(dim=0) >= ENOUGH)
    errors = errors_at_once(max(1, int(has_interval.sum())))
    f1 = [side.label_decisions["f1"] for side in (first, other)]
    right = [((side.tags == side.truth) & differ).sum(dim=0) for side in (other, first)]
    columns = (images, *f1, *right, first.label_rankings[0], other.label_rankings[0])
    rows = zip(*(column.tolist() for column in columns), strict=True)
    compared = []
    for index, (count, before, after, better, worse, *precisions) in enumerate(rows):
        difference = _without_bounds(after - before)
        if has_interval[index]:
            difference = _label_f1(other, index).minus(_label_f1(first, index), errors)
        label = first.labels[index]
        compared.append(LabelComparison(label, count, (before, after), difference, better, worse, tuple(precisions)))
    return compared


def _without_bounds(difference: float) -> Interval:
    return Interval(difference, math.nan, math.nan)


def _label_f1(evaluation: Evaluation, label: int) -> Estimate:
    column = slice(label, label + 1)
    return decision_estimates(evaluation.tags[:, column], evaluation.targets[:, column])["f1_macro"]
