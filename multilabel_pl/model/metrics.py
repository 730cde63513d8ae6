"""Metrics of an evaluation, each computed once, from all outputs, and from known decisions alone."""

from typing import Any

import torch
from torch import Tensor

from multilabel_pl.model.ranking import label_rankings

HALF = 0.5


def decision_metrics(tags: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Computes metrics of tags against the truth.

    Means over labels are of those with positives, and means over images of those with true tags, whatever the tags are,
    so that they can be compared; if there are none, the mean is NaN.

    Args:
        tags: bool (N, L).
        targets: (N, L): 1, 0, or NaN where unknown.

    Returns:
        label_accuracy: the share of the N x L decisions that are right (Keras's binary accuracy);
        exact_match: the share of images with no wrong decision (subset accuracy), of those with a known one;
        precision, recall and f1, each with _macro (mean over labels), _micro (all decisions together) and _samples
        (mean over images).
    """
    truth, known = targets > 0, ~targets.isnan()
    right = tags == truth
    metrics = {
        "label_accuracy": right[known].float().mean(),
        "exact_match": (right | ~known).all(dim=1)[known.any(dim=1)].float().mean(),
    }
    averages: dict[str, Any] = {"macro": 0, "micro": (0, 1), "samples": 1}  # what is summed over
    for average, dim in averages.items():
        to_find = truth.sum(dim) > 0
        for name, value in precision_recall_f1(tags, targets, dim).items():
            metrics[f"{name}_{average}"] = value.where(to_find, torch.nan).nanmean()
    return metrics


def precision_recall_f1(tags: Tensor, targets: Tensor, dim: int | tuple[int, ...]) -> dict[str, Tensor]:
    """Counts over some dimensions of bool tags and targets, (N, L) each; NaN with neither positives nor tags."""
    truth = targets > 0
    hits, tagged, true = (part.sum(dim).float() for part in (tags & truth, tags & ~targets.isnan(), truth))
    ratios = {
        "precision": hits / tagged.clamp(min=1),
        "recall": hits / true.clamp(min=1),
        "f1": 2 * hits / (tagged + true),
    }
    return {name: ratio.where(tagged + true > 0, torch.nan) for name, ratio in ratios.items()}


def ranking_metrics(
    probabilities: Tensor, targets: Tensor, average_precision: Tensor, auroc: Tensor
) -> dict[str, Tensor]:
    """Computes metrics that don't depend on thresholds.

    Args:
        probabilities: float32 (N, L).
        targets: (N, L): 1, 0, or NaN where unknown.
        average_precision: Of each label, (L,).
        auroc: Of each label, (L,).

    Returns:
        map: mean average precision over labels; auroc: mean area under the ROC curve over labels, each without the
        labels that it isn't defined for; ranking_loss: the mean share of an image's pairs of a true and a false label
        that are in the wrong order, 0 where there are no pairs, over images with a known label.
    """
    counted = ~targets.isnan().all(dim=1)  # (N,)
    _, of_images = label_rankings(probabilities.T, targets.T)
    return {
        "map": average_precision.nanmean(),
        "auroc": auroc.nanmean(),
        "ranking_loss": (1 - of_images).nan_to_num(0)[counted].mean(),
    }
