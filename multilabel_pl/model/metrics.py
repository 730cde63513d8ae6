"""Metrics of an evaluation, each computed once, from all outputs."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
    multilabel_ranking_loss,
)

HALF = 0.5
CALIBRATION_BINS = 15


def decision_metrics(tags: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Computes metrics of tags against the truth.

    A label, or an image, with nothing to find and nothing found is left out of the means, so that a small set can
    score 1; if that leaves none, the mean is NaN.

    Args:
        tags: bool (N, L).
        targets: (N, L) of 0 and 1.

    Returns:
        label_accuracy: the share of the N x L decisions that are right (Keras's binary accuracy);
        exact_match: the share of images with no wrong decision (subset accuracy);
        precision, recall and f1, each with _macro (mean over labels), _micro (all decisions together) and _samples
        (mean over images).
    """
    truth = targets.bool()
    right = tags == truth
    metrics = {"label_accuracy": right.float().mean(), "exact_match": right.all(dim=1).float().mean()}
    averages: dict[str, Any] = {"macro": 0, "micro": (0, 1), "samples": 1}  # what is summed over
    for average, dim in averages.items():
        for name, value in precision_recall_f1(tags, truth, dim).items():
            metrics[f"{name}_{average}"] = value.nanmean()
    return metrics


def precision_recall_f1(tags: Tensor, truth: Tensor, dim: int | tuple[int, ...]) -> dict[str, Tensor]:
    """Counts over some dimensions of bool (N, L) tags and truth; NaN where there are neither positives nor tags."""
    hits, tagged, true = (part.sum(dim).float() for part in (tags & truth, tags, truth))
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
        probabilities: float32 (N, L), not at all rounded: torchmetrics takes what lies outside [0, 1] for logits.
        targets: (N, L) of 0 and 1.
        average_precision: Of each label, (L,).
        auroc: Of each label, (L,).

    Returns:
        map: mean average precision over labels; auroc: mean area under the ROC curve over labels, each without the
        labels that it isn't defined for; ranking_loss: the mean share of an image's pairs of a true and a false label
        that are in the wrong order.
    """
    labels = targets.shape[1]
    return {
        "map": average_precision.nanmean(),
        "auroc": auroc.nanmean(),
        "ranking_loss": multilabel_ranking_loss(probabilities, targets.int(), labels)
        if labels > 1
        else auroc.new_zeros(()),
    }


def calibration_error(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Returns the expected difference between a probability and the share of positives.

    Args:
        probabilities: float32 (N, L).
        targets: (N, L) of 0 and 1.

    Returns:
        The mean over all decisions, in 15 equal bins of their probability (the expected calibration error).
    """
    return binary_calibration_error(probabilities.flatten(), targets.int().flatten(), CALIBRATION_BINS)


def label_rankings(probabilities: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Returns each label's average precision and AUROC (L,); NaN without positives or, for AUROC, negatives."""
    positive, negative = targets.bool().any(dim=0), ~targets.bool().all(dim=0)  # (L,): has any
    with undefined_labels():
        average_precision = _of_each_label(binary_average_precision, probabilities, targets)
        auroc = _of_each_label(binary_auroc, probabilities, targets)
    return average_precision.where(positive, torch.nan), auroc.where(positive & negative, torch.nan)


def _of_each_label(metric: Callable[[Tensor, Tensor], Tensor], probabilities: Tensor, targets: Tensor) -> Tensor:
    """Computes a metric label by label, as torchmetrics' functions for several labels do; these refuse a single one."""
    pairs = zip(probabilities.T.contiguous(), targets.int().T.contiguous(), strict=True)
    return torch.stack([metric(of_label, truth) for of_label, truth in pairs])


@contextmanager
def undefined_labels() -> Iterator[None]:
    """Silences torchmetrics' warnings about labels without positives or negatives, where these are handled."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No (positive|negative) samples")
        yield
