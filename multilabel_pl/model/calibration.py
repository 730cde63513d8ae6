"""Calibration: a slope for each label, fitted on validation images, that makes probabilities match frequencies."""

import math

import torch
from torch import Tensor

STEEPEST = 100.0  # slope; the flattest is its inverse
BISECTIONS = 40


def fit_slopes(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the slope of each label for which sigmoid(slope * logit) has the least binary cross-entropy.

    Temperature scaling (the slope is 1 / temperature) after Guo et al., On Calibration of Modern Neural Networks
    (https://arxiv.org/abs/1706.04599), per label. The cross-entropy is convex in the slope, so bisecting its derivative
    finds the one minimum.

    Args:
        logits: float (N, L).
        targets: (N, L) of 0 and 1.

    Returns:
        Slopes float32 (L,), and bool (L,): whether each was fitted. The others are 1: those of labels without positives
        or negatives, and of labels whose logits separate these perfectly, or not at all.
    """
    truth = targets.to(logits.dtype)

    def derivative(log_slope: Tensor) -> Tensor:
        """Of the cross-entropy in the slope, (L,)."""
        return ((torch.sigmoid(logits * log_slope.exp()) - truth) * logits).mean(dim=0)

    low = torch.full_like(logits[0], -math.log(STEEPEST))
    high = -low
    fitted = (derivative(low) < 0) & (derivative(high) > 0) & truth.any(dim=0) & ~truth.all(dim=0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rises = derivative(middle) > 0
        low, high = torch.where(rises, low, middle), torch.where(rises, middle, high)
    return ((low + high) / 2).exp().where(fitted, 1.0).float(), fitted
