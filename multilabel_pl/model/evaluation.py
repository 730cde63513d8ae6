"""Predictions on a labelled set and their metrics."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from multilabel_pl.errors import InputError
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.intervals import Estimate, Interval, decision_estimates, map_estimate
from multilabel_pl.model.metrics import HALF, decision_metrics, precision_recall_f1, ranking_metrics
from multilabel_pl.model.ranking import label_rankings
from multilabel_pl.model.reliability import Bin, calibration_error, reliability

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


@dataclass(frozen=True)
class Evaluation:
    """Predictions on a labelled set.

    Attributes:
        decision: What makes tags of logits. It is copied, so that later learning does not change the evaluation.
        uncalibrated: Logits before calibration, float32 (N, L).
        targets: (N, L): 1, 0, or NaN where unknown.
        loss: What training minimises, over all known decisions, ().
    """

    decision: Decision
    uncalibrated: Tensor
    targets: Tensor
    loss: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "decision", copy.deepcopy(self.decision))

    def cpu(self) -> "Evaluation":
        """Returns the evaluation on the CPU, for drawing."""
        if self.targets.device.type == "cpu":
            return self
        parts = {name: getattr(self, name).cpu() for name in ("uncalibrated", "targets", "loss")}
        moved = replace(self, **parts)
        moved.decision.cpu()
        return moved

    @property
    def labels(self) -> Sequence[str]:
        """Names of the labels."""
        return self.decision.labels

    @property
    def thresholds(self) -> Tensor:
        """float32 (L,)."""
        return self.decision.thresholds

    @cached_property
    def logits(self) -> Tensor:
        """float32 (N, L), calibrated."""
        return self.decision(self.uncalibrated)  # type: ignore[no-any-return] # torch's modules return Any

    @cached_property
    def probabilities(self) -> Tensor:
        """float32 (N, L)."""
        return self.logits.sigmoid()

    @cached_property
    def tags(self) -> Tensor:
        """Bool (N, L): the labels whose probability reaches their threshold."""
        return self.decision.tags(self.probabilities)

    @cached_property
    def tags_at_half(self) -> Tensor:
        """Bool (N, L): the labels whose probability reaches 0.5."""
        return self.probabilities >= HALF

    @cached_property
    def known(self) -> Tensor:
        """Bool (N, L): the decisions that the metrics are of."""
        return ~self.targets.isnan()

    @cached_property
    def truth(self) -> Tensor:
        """Bool (N, L): the labels that images are known to carry."""
        return self.targets > 0

    @property
    def missed(self) -> Tensor:
        """Bool (N, L): the true labels that are no tags."""
        return self.truth & ~self.tags

    @property
    def mistaken(self) -> Tensor:
        """Bool (N, L): the tags of labels that images are known not to carry."""
        return self.tags & self.known & ~self.truth

    @cached_property
    def wrong(self) -> Tensor:
        """Bool (N,): the images with a wrong tag, or without one that they should have."""
        return self._is_wrong(self.tags)

    @cached_property
    def worst_first(self) -> tuple[Tensor, Tensor]:
        """The indices of the wrongly tagged images, those with the highest loss first, and their losses, (M,) each."""
        losses = F.binary_cross_entropy_with_logits(self.logits, self.targets, reduction="none")  # (N, L)
        indices = self.wrong.nonzero()[:, 0]
        loss, order = losses.where(self.known, 0).sum(dim=1)[indices].sort(descending=True, stable=True)
        return indices[order], loss

    @cached_property
    def label_decisions(self) -> dict[str, Tensor]:
        """Each label's precision, recall and F1, (L,); see `metrics.precision_recall_f1`."""
        return precision_recall_f1(self.tags, self.targets, dim=0)

    @cached_property
    def label_decisions_at_half(self) -> dict[str, Tensor]:
        """The same at 0.5."""
        return precision_recall_f1(self.tags_at_half, self.targets, dim=0)

    @cached_property
    def label_rankings(self) -> tuple[Tensor, Tensor]:
        """Each label's average precision and AUROC (L,); see `ranking.label_rankings`."""
        return label_rankings(self.probabilities, self.targets)

    @cached_property
    def metrics(self) -> dict[str, Tensor]:
        """All metrics by name.

        The loss; the `decision_metrics` at the thresholds, and at 0.5 with `_at_half` after their names; the
        `ranking_metrics`; the `calibration_error` and, of a calibrated model, `calibration_error_uncalibrated`;
        label_accuracy_of_no_tags, what predicting no tag at all would score, the floor of label_accuracy.
        """
        at_half = decision_metrics(self.tags_at_half, self.targets)
        metrics = {
            "loss": self.loss,
            **decision_metrics(self.tags, self.targets),
            **{f"{name}_at_half": value for name, value in at_half.items()},
            **ranking_metrics(self.probabilities, self.targets, *self.label_rankings),
            "calibration_error": calibration_error(self.probabilities, self.targets),
        }
        if self.decision.calibrate:
            before = calibration_error(self.uncalibrated.sigmoid(), self.targets)
            metrics["calibration_error_uncalibrated"] = before
        return {**metrics, "label_accuracy_of_no_tags": 1 - self.targets.float().nanmean()}

    @cached_property
    def bins(self) -> list[Bin]:
        """The known decisions in bins of their probability; see `reliability.reliability`."""
        return reliability(self.probabilities, self.targets)

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """95 % intervals of the leading metrics, by the names that these have in `metrics`."""
        return {name: estimate.interval() for name, estimate in self.estimates.items()}

    @cached_property
    def gains(self) -> dict[str, Interval]:
        """What the thresholds gain against 0.5, by metric."""
        estimates = self.estimates
        halves = {name: estimates[f"{name}_at_half"] for name in estimates if f"{name}_at_half" in estimates}
        return {name: estimates[name].minus(half) for name, half in halves.items()}

    @cached_property
    def changed(self) -> dict[str, int]:
        """How many images can make a metric differ from the same at 0.5, by metric."""
        tagged_otherwise = ((self.tags != self.tags_at_half) & self.known).any(dim=1)
        right_or_wrong = self.wrong != self._is_wrong(self.tags_at_half)
        return dict.fromkeys(self.gains, int(tagged_otherwise.sum())) | {"exact_match": int(right_or_wrong.sum())}

    def _is_wrong(self, tags: Tensor) -> Tensor:
        """Bool (N,): the images of which tags (N, L) are wrong."""
        return ((tags != self.truth) & self.known).any(dim=1)

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """The leading metrics with the influence of each image, by the names that these have in `metrics`."""
        at_half = decision_estimates(self.tags_at_half, self.targets)
        average_precision, _ = self.label_rankings
        return {
            **decision_estimates(self.tags, self.targets),
            **{f"{name}_at_half": estimate for name, estimate in at_half.items()},
            "map": map_estimate(self.probabilities, self.targets, average_precision),
        }


def metric_names(calibrate: bool) -> list[str]:
    """Returns the names of all metrics of a model that is calibrated, or not."""
    one = torch.ones(1, 1)
    return list(Evaluation(Decision(["label"], HALF, calibrate), one, one, one.squeeze()).metrics)


def gather(outputs: Sequence[tuple[Tensor, Tensor]], trainer: "Trainer", loader: Any) -> tuple[Tensor, Tensor]:
    """Joins the outputs of all batches and all processes, in the order of the images.

    Args:
        outputs: Logits (B, L) and targets (B, L) of this process's batches.
        trainer: Whose processes they are.
        loader: Where the batches came from.

    Returns:
        Logits (N, L) and targets (N, L), the same on every process.

    Raises:
        InputError: If a logit is not a number, from which nothing can be measured or learned.
    """
    logits, targets = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    if trainer.world_size > 1:
        gathered = map(trainer.strategy.all_gather, (logits, targets))  # (W, M, L) of W processes
        # Each has every W-th image, and some an early one besides, so that all have as many.
        logits, targets = (parts.transpose(0, 1).flatten(0, 1)[: len(loader.dataset)] for parts in gathered)
    if logits.isnan().any():
        weights = f"the weights of {trainer.ckpt_path}" if trainer.ckpt_path else "its weights"
        raise InputError(f"the model's scores are not numbers, as {weights} are too large: use another checkpoint")
    return logits, targets
