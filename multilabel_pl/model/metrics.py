"""The metrics of an evaluation, computed once from all of its logits."""

import warnings
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import (
    multilabel_accuracy,
    multilabel_auroc,
    multilabel_average_precision,
    multilabel_exact_match,
    multilabel_f1_score,
)
from torchmetrics.utilities import dim_zero_cat


class EpochOutputs(Metric):
    """Collects the logits and targets of an epoch, from all processes.

    Keeping them costs 8 bytes an image and label, and lets every figure be computed exactly, and once.
    """

    full_state_update = False
    logits: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Takes in a batch: logits (B, L) and targets (B, L)."""
        self.logits.append(logits)
        self.targets.append(targets)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Returns all logits (N, L) and all targets (N, L)."""
        return dim_zero_cat(self.logits), dim_zero_cat(self.targets)


def multilabel_metrics(probabilities: Tensor, tags: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Computes torchmetrics' multi-label metrics.

    torchmetrics knows one threshold for all labels, and takes whatever lies outside [0, 1] for logits, so it is given
    tags where it would cut, and float32 probabilities where it would rank.

    A label that a mean over labels isn't defined for (no positives; for auroc, no negatives; for F1, no positives and
    no tags) is left out of it, so that a small set can score 1; if that leaves none, the mean is NaN.

    Args:
        probabilities: float32 (N, L).
        tags: bool (N, L), the probabilities at or above their thresholds.
        targets: (N, L) of 0 and 1.

    Returns:
        label_accuracy: the share of the N x L decisions that are right (Keras's binary accuracy);
        exact_match: the share of images with no wrong decision (subset accuracy);
        f1_macro, f1_micro: F1 averaged over labels, and over all decisions together;
        map: mean average precision over labels; auroc: mean area under the ROC curve over labels;
        label_accuracy_of_no_tags: what predicting no tag at all would score, the floor of label_accuracy.
    """
    num_labels = targets.shape[1]
    decisions: dict[str, Any] = {"preds": tags.int(), "target": targets.int(), "num_labels": num_labels}
    rankings: dict[str, Any] = {"preds": probabilities, "target": targets.int(), "num_labels": num_labels}
    positive, negative = targets.bool().any(dim=0), ~targets.bool().all(dim=0)  # (L,): has any
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No (positive|negative) samples")  # such labels are left out below
        f1 = multilabel_f1_score(**decisions, average="none")  # (L,)
        average_precision = torch.as_tensor(multilabel_average_precision(**rankings, average="none"))  # (L,)
        auroc = torch.as_tensor(multilabel_auroc(**rankings, average="none"))  # (L,)
    return {
        "label_accuracy": multilabel_accuracy(**decisions, average="micro"),
        "exact_match": multilabel_exact_match(**decisions),
        "f1_macro": f1[positive | tags.any(dim=0)].mean(),
        "f1_micro": multilabel_f1_score(**decisions, average="micro"),
        "map": average_precision[positive].mean(),
        "auroc": auroc[positive & negative].mean(),
        "label_accuracy_of_no_tags": 1 - targets.float().mean(),
    }
