"""Calibration: a slope and an offset for each label's logits, which make probabilities match frequencies."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SPREAD = 0.2  # of slopes around 1 and of offsets around 0: a guess, until the images tell
GUESS_WEIGHT = 4  # labels that the guess counts as
ITERATIONS = 15
HALVINGS = 30  # of a step that leads uphill
FLATTEST = 1e-3  # slope: scores are never turned around


class Line(NamedTuple):
    """A slope and an offset for each label, (L,) each."""

    slopes: Tensor
    offsets: Tensor

    def __call__(self, logits: Tensor) -> Tensor:
        """Calibrates logits (N, L)."""
        return logits * self.slopes + self.offsets

    def inverse(self, calibrated: Tensor) -> Tensor:
        """Returns the logits (N, L) that are calibrated to these."""
        return (calibrated - self.offsets) / self.slopes


def fit_calibration(logits: Tensor, targets: Tensor) -> Line:
    """Fits slopes and offsets for which sigmoid(slope * logit + offset) is the probability of a label.

    Logistic calibration after Platt (Probabilistic Outputs for Support Vector Machines, 1999), partially pooled, so
    that it holds with few images: first one line for all labels together, then each label's own around it. Both have
    normal priors around no change at all, and the variance of these is estimated as well (MacKay, 1992,
    https://doi.org/10.1162/neco.1992.4.3.415): labels that are alike, or have few positives, share the common line;
    labels that differ, and have the images to show it, get their own.

    Args:
        logits: float (N, L).
        targets: (N, L): 1, 0, or NaN where unknown.

    Returns:
        Slopes, all above 0, and offsets, float32 (L,); the common line for a label of which nothing is known.
    """
    logits, targets = logits.float(), targets.float()
    common = _fit_lines(logits.reshape(-1, 1), targets.reshape(-1, 1))
    own = _fit_lines(common(logits), targets)
    return Line(own.slopes * common.slopes, own.slopes * common.offsets + own.offsets)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the mean binary cross-entropy of each label, (L,), of logits and targets (N, L); NaN if none is known."""
    known = ~targets.isnan()
    costs = F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")
    return costs.where(known, 0).sum(dim=0) / known.sum(dim=0)


def _fit_lines(logits: Tensor, targets: Tensor) -> Line:
    """Finds the most probable line of each column (N, C) by Newton's method, and the spread of the lines beside it."""
    known = ~targets.isnan()
    informed = known.any(dim=0)  # (C,): the columns that the spread is estimated from
    counted = known.float()  # as a factor it takes less time than as a condition
    logits, truth = logits.where(known, 0), targets.where(known, 0)
    slopes, offsets = torch.ones_like(logits[0]), torch.zeros_like(logits[0])  # (C,)
    spread = torch.full((2, 1), SPREAD**2, device=logits.device)  # variances of slopes and of offsets

    def cost(slopes: Tensor, offsets: Tensor) -> Tensor:
        """Negative log of likelihood and prior, (C,)."""
        fitted = logits * slopes + offsets
        prior = (slopes - 1) ** 2 / spread[0] + offsets**2 / spread[1]
        costs = F.binary_cross_entropy_with_logits(fitted, truth, counted, reduction="none")
        return costs.sum(dim=0) + prior / 2

    for _ in range(ITERATIONS):
        probabilities = torch.sigmoid(logits * slopes + offsets)
        error, weight = (probabilities - truth) * counted, probabilities * (1 - probabilities) * counted
        weighted = weight * logits
        down_slope = (error * logits).sum(dim=0) + (slopes - 1) / spread[0]
        down_offset = error.sum(dim=0) + offsets / spread[1]
        # The second derivatives, a 2 x 2 matrix for each column.
        a, b, c = (weighted * logits).sum(dim=0) + 1 / spread[0], weighted.sum(dim=0), weight.sum(dim=0) + 1 / spread[1]
        determinant = a * c - b**2
        step = torch.stack([c * down_slope - b * down_offset, a * down_offset - b * down_slope]) / determinant
        now = cost(slopes, offsets) * (1 + 1e-6)  # what rounding may add
        for _ in range(HALVINGS):
            uphill = (cost(slopes - step[0], offsets - step[1]) > now) | (slopes - step[0] < FLATTEST)
            if not uphill.any():
                break
            step = step.where(~uphill, step / 2)
        slopes, offsets = slopes - step[0].where(~uphill, 0), offsets - step[1].where(~uphill, 0)
        # The expected squares of what the lines differ by, (2, C).
        change = (torch.stack([slopes - 1, offsets]) ** 2 + torch.stack([c, a]) / determinant) * informed
        spread = (GUESS_WEIGHT * SPREAD**2 + change.sum(dim=1, keepdim=True)) / (GUESS_WEIGHT + informed.sum())
    return Line(slopes, offsets)
