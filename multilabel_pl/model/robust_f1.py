"""Thresholds for the highest F1 to be expected on new images."""

import torch
from torch import Tensor

from multilabel_pl.model.calibration import fit_calibration

PULL = 7  # positives at which a label's own threshold and the common one count the same
ROUNDS = 20  # at most; five are usual


def robust_f1_thresholds(logits: Tensor, targets: Tensor) -> Tensor:
    """Finds thresholds that hold on images never seen, with few positives as well.

    A search for the threshold with the highest F1 on the validation images fits their noise (Lin & Lin, 2023,
    https://doi.org/10.1145/3583780.3614996). Instead:

    1. Logits are calibrated, partially pooled over labels: see `fit_calibration`.
    2. For calibrated probabilities, the threshold with the highest expected F1 is half of that F1 (Lipton, Elkan &
       Narayanaswamy, 2014, https://arxiv.org/abs/1402.1892): of each label, and one of all decisions together.
    3. A label's threshold is a mean, of log-odds, of its own and the common one. Its own counts n / (n + 7), with n
       positives among the validation images.

    Args:
        logits: float (N, L).
        targets: (N, L): 1, 0, or NaN where unknown, with at least one positive.

    Returns:
        Thresholds for the sigmoid of these logits, float32 (L,).
    """
    line = fit_calibration(logits, targets)
    probabilities = line(logits.float()).sigmoid().where(~targets.isnan(), torch.nan)
    own, common = (best_expected_f1(probabilities, dim) / 2 for dim in (0, (0, 1)))
    positives = targets.nansum(dim=0)
    weight = positives / (positives + PULL)
    own = own.where(positives > 0, common)  # there is none if nothing is known of the label
    log_odds = weight * own.logit() + (1 - weight) * common.logit()
    return line.inverse(log_odds).sigmoid()


def best_expected_f1(probabilities: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Returns the highest F1 to be expected from any threshold.

    If F is the F1 of the decisions whose probability is at least f / 2, then replacing f by F leads up to the best
    (Dinkelbach, 1967, https://doi.org/10.1287/mnsc.13.7.492), in a few rounds and without sorting.

    Args:
        probabilities: float (N, L), none of them 0; NaN where they don't count.
        dim: What is decided together: 0 for each label by itself, (0, 1) for all labels.

    Returns:
        2 * expected true positives / (expected positives + tags), (L,) or (); NaN where none counts.
    """
    positives = probabilities.nansum(dim)
    best = torch.zeros_like(positives)
    for _ in range(ROUNDS):
        tagged = probabilities >= best / 2
        f1 = 2 * probabilities.where(tagged, 0).sum(dim) / (positives + tagged.sum(dim))
        if not (f1 > best).any():
            break
        best = torch.maximum(best, f1)
    return best
