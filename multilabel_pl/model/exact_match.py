"""Thresholds for the most images with no wrong tag."""

import torch
from torch import Tensor

from multilabel_pl.model.calibration import fit_calibration

EVEN = 0.5


def exact_match_thresholds(logits: Tensor, targets: Tensor) -> Tensor:
    """Finds thresholds with which many images have no wrong tag, among those that are known.

    Logits are calibrated as in `fit_calibration`. Of calibrated probabilities, 0.5 is the best threshold if labels are
    independent; they are not, so the best single one is searched for. A search for each label's own fits the noise.

    Args:
        logits: float (N, L).
        targets: (N, L): 1, 0, or NaN where unknown.

    Returns:
        Thresholds for the sigmoid of these logits, float32 (L,).
    """
    line = fit_calibration(logits, targets)
    probabilities, true, false = line(logits.float()).sigmoid(), targets > 0, targets <= 0
    highest_false = probabilities.where(false, 0).amax(dim=1)  # (N,)
    lowest_true = probabilities.where(true, 1).amin(dim=1)
    # An image is right if the threshold is above its false labels, and not above its true ones.
    separable = (highest_false < lowest_true) & (true | false).any(dim=1)
    common = _between(highest_false[separable], lowest_true[separable])
    return line.inverse(common.logit()).sigmoid()


def _between(lower: Tensor, upper: Tensor) -> Tensor:
    """Returns the number, (), that lies in most of some intervals (N,); of equals the one nearest 0.5."""
    even = lower.new_tensor([EVEN])
    edges = torch.cat([lower, upper, even / 2, 1 - even / 2]).sort().values
    middles = torch.cat([(edges[1:] + edges[:-1]) / 2, even])
    inside = torch.searchsorted(lower.sort().values, middles) - torch.searchsorted(upper.sort().values, middles)
    return middles[(middles - even).abs().where(inside == inside.max(), torch.inf).argmin()]
