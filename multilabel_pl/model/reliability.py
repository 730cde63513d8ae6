"""How often decisions of a probability are positive, in bins of the probability."""

from typing import NamedTuple

import torch
from torch import Tensor

from multilabel_pl.model.intervals import Estimate, Interval

BINS = 15  # of equal width


class Bin(NamedTuple):
    """The known decisions whose probability lies between two.

    Attributes:
        probability: Their mean; NaN if there are none.
        share: The share of positives, with its 95 % interval over the draw of the images, whose decisions go together;
            NaN if there are none.
        size: How many there are.
    """

    probability: float
    share: Interval
    size: int


def reliability(probabilities: Tensor, targets: Tensor) -> list[Bin]:
    """Counts decisions in bins of their probability.

    Args:
        probabilities: float32 (N, L).
        targets: (N, L): 1, 0, or NaN where unknown.
    """
    size = len(targets)
    images = torch.arange(size, device=targets.device)[:, None].expand_as(targets)
    known = ~targets.isnan()
    # Float32 would stop to count at 2**24 decisions.
    likely, true = probabilities[known].double(), targets[known].double()
    cells = images[known] * BINS + _bins(probabilities[known])  # each decision's image and bin
    sums = (torch.bincount(cells, weights, minlength=size * BINS) for weights in (None, likely, true))
    counts, likely, true = (each.view(size, BINS).double().T for each in sums)  # (BINS, N) each
    return [_bin(*each) for each in zip(counts, likely, true, strict=True)]


def calibration_error(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Returns the expected difference between a probability and the share of positives.

    Args:
        probabilities: float32 (N, L).
        targets: (N, L): 1, 0, or NaN where unknown.

    Returns:
        The mean over all known decisions, in 15 equal bins of their probability (the expected calibration error), ();
        NaN if there are none.
    """
    known = ~targets.isnan()
    likely, true = (part[known].cpu().double() for part in (probabilities, targets))  # some GPUs have no float64
    excess = torch.bincount(_bins(probabilities[known]).cpu(), likely - true, minlength=BINS)
    return (excess.abs().sum() / len(true)).to(probabilities)


def _bins(probabilities: Tensor) -> Tensor:
    return (probabilities * BINS).long().clamp(max=BINS - 1)


def _bin(counts: Tensor, likely: Tensor, true: Tensor) -> Bin:
    """Makes a bin from the decisions that each image has in it, their probabilities and positives, (N,) each."""
    count = counts.sum()
    share = true.sum() / count
    estimate = Estimate(share, (true - share * counts) / count, (counts > 0).sum())
    return Bin((likely.sum() / count).item(), estimate.interval(), int(count))
