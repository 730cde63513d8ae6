"""Intervals: how much a metric may differ on other images of the same kind."""

import math
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from multilabel_pl.model.ranking import map_influences

COVERAGE = 0.95
NORMAL = 1.96  # standard errors on each side of an interval
ENOUGH = 10  # positives of each label, below which the spread of a mean over labels can't be seen in the images


class Interval(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


class Estimate(NamedTuple):
    """A metric that was measured on some images.

    Attributes:
        value: ().
        influences: The derivatives of the metric by the weight of each image, (N,). The sum of their squares is its
            variance over the draw of the images (the infinitesimal jackknife, Efron, 1981,
            https://doi.org/10.1093/biomet/68.3.589), which a bootstrap only approaches.
        support: How many images it rests on, such as those that carry a label or are tagged with it, (). Where no image
            has an influence, as on a metric that is 1, this alone says how sure it is.
    """

    value: Tensor
    influences: Tensor
    support: Tensor

    def interval(self) -> Interval:
        """Returns the interval of a metric in [0, 1]: Wilson's, of as many images as a share would vary so much with.

        Of a share, such as the exact match, that is Wilson's itself.
        """
        variance, spread = self.influences.square().sum(), self.value * (1 - self.value)
        if variance.isnan():
            return Interval(self.value.item(), math.nan, math.nan)
        count = (spread / variance).where((spread > 0) & (variance > 0), self.support)
        return Interval(self.value.item(), *(bound.item() for bound in wilson(self.value, count)))

    def minus(self, other: "Estimate", errors: float = NORMAL) -> Interval:
        """Returns the difference from another metric of the same images, and so many standard errors on each side."""
        difference = (self.value - other.value).item()
        error = (self.influences - other.influences).square().sum().sqrt().item()
        return Interval(difference, difference - errors * error, difference + errors * error)


def wilson(share: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the bounds of Wilson's 95 % interval (1927, https://doi.org/10.2307/2276774) of shares of so many."""
    square = NORMAL**2 / count
    middle = (share + square / 2) / (1 + square)
    half = NORMAL / (1 + square) * (share * (1 - share) / count + square / count / 4).sqrt()
    return (middle - half).clamp(min=0), (middle + half).clamp(max=1)


def decision_estimates(tags: Tensor, targets: Tensor) -> dict[str, Estimate]:
    """Estimates the exact match and the macro and micro F1 of tags, bool (N, L), against targets (N, L).

    Images without a known label have no influence, (N,) being the others.
    """
    counted = ~targets.isnan().all(dim=1)
    tags, targets = tags[counted], targets[counted]
    truth, known = targets > 0, ~targets.isnan()
    right = ((tags == truth) | ~known).all(dim=1).double()
    counts = [part.float() for part in (tags & truth, tags & known, truth)]
    return {
        "exact_match": Estimate(right.mean(), (right - right.mean()) / len(right), counted.sum()),
        "f1_macro": _mean_f1(*counts),
        "f1_micro": _mean_f1(*(part.sum(dim=1, keepdim=True) for part in counts)),
    }


def accuracy_estimate(tags: Tensor, targets: Tensor) -> Estimate:
    """Estimates the label accuracy of tags, bool (N, L), against targets (N, L); NaN if none is known."""
    known = ~targets.isnan()
    right, counts = ((tags == (targets > 0)) & known).sum(dim=1).double(), known.sum(dim=1).double()
    accuracy = right.sum() / counts.sum()
    return Estimate(accuracy, (right - accuracy * counts) / counts.sum(), (counts > 0).sum())


def map_estimate(probabilities: Tensor, targets: Tensor, average_precision: Tensor) -> Estimate:
    """Estimates the mean average precision of probabilities (N, L) against targets (N, L), from that of labels (L,)."""
    counted = ~targets.isnan().all(dim=1)
    influences = map_influences(probabilities[counted], targets[counted])
    return Estimate(average_precision.nanmean(), _if_enough(targets > 0, influences), _fewest(targets > 0, targets > 0))


def errors_at_once(count: int) -> float:
    """Returns the standard errors on each side of intervals that all hold in 95 % of cases.

    Bonferroni's, whatever the differences depend on (Dunn, 1961, https://doi.org/10.1080/01621459.1961.10482090).

    Args:
        count: How many intervals, at least 1.
    """
    return NormalDist().inv_cdf(1 - (1 - COVERAGE) / 2 / count)


def _mean_f1(hits: Tensor, tagged: Tensor, true: Tensor) -> Estimate:
    """Estimates the mean F1 of the columns with positives, from counts in each image, (N, C)."""
    positives, either = true.sum(dim=0).double(), (tagged.sum(dim=0) + true.sum(dim=0)).double()
    f1 = 2 * hits.sum(dim=0).double() / either
    weight = ((positives > 0) / either / (positives > 0).sum()).where(positives > 0, 0)
    # The derivative of 2 h / e by the weight of an image is (2 h' - f1 e') / e, with its own h' and e'.
    influences = hits @ (2 * weight).float() - (tagged + true) @ (f1 * weight).where(positives > 0, 0).float()
    return Estimate(f1[positives > 0].mean(), _if_enough(true, influences), _fewest(tagged + true > 0, true > 0))


def _fewest(counted: Tensor, truth: Tensor) -> Tensor:
    """Returns the least number of images that count, bool (N, C), for a column of truth with positives, ()."""
    return counted.sum(dim=0).double().where(truth.any(dim=0), torch.inf).amin()


def _if_enough(truth: Tensor, influences: Tensor) -> Tensor:
    """Returns influences on a mean over the columns of truth (N, C); NaN if one of them has few positives."""
    return torch.full_like(influences, torch.nan) if has_few(truth).any() else influences


def has_few(truth: Tensor) -> Tensor:
    """Whether each column of truth (N, C) has positives, but fewer than enough for intervals; bool (C,)."""
    positives = truth.sum(dim=0)
    return (positives > 0) & (positives < ENOUGH)
