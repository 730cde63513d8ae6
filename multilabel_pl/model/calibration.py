"""A temperature for each label, fitted on validation data, that makes its probabilities mean what they say."""

import math

import torch
from torch import Tensor

HIGHEST = 100.0  # temperature; the lowest is its inverse
BISECTIONS = 40


def fit_temperatures(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the temperature T of each label for which sigmoid(logit / T) has the least binary cross-entropy.

    Temperature scaling, after Guo et al., On Calibration of Modern Neural Networks (https://arxiv.org/abs/1706.04599).
    The cross-entropy is convex in 1 / T, so bisecting its slope finds the one minimum.

    Args:
        logits: float (N, L).
        targets: (N, L) of 0 and 1.

    Returns:
        Temperatures float32 (L,), and bool (L,): whether each was fitted. The others are 1: those of labels without
        positives or negatives, of labels whose logits tell all of these apart, or tell nothing.
    """
    truth = targets.to(logits.dtype)

    def slope(log_inverse: Tensor) -> Tensor:
        """Of the cross-entropy in 1 / T, (L,)."""
        return ((torch.sigmoid(logits * log_inverse.exp()) - truth) * logits).mean(dim=0)

    low = torch.full_like(logits[0], -math.log(HIGHEST))
    high = -low
    fitted = (slope(low) < 0) & (slope(high) > 0) & truth.any(dim=0) & ~truth.all(dim=0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rises = slope(middle) > 0
        low, high = torch.where(rises, low, middle), torch.where(rises, middle, high)
    temperatures = torch.exp(-(low + high) / 2)
    return temperatures.where(fitted, 1.0).float(), fitted
