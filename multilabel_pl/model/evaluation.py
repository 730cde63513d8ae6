"""What a model said of images, beside the truth, and all that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from multilabel_pl.model.metrics import (
    HALF,
    calibration_error,
    decision_metrics,
    label_rankings,
    ranking_metrics,
)


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of a model.

    Attributes:
        labels: The names of the labels.
        thresholds: float32 (L,).
        logits: float32 (N, L); their sigmoid is the probabilities.
        targets: (N, L) of 0 and 1.
        loss: What training minimises, over all decisions, ().
        uncalibrated: The logits (N, L) before calibration, if the model is calibrated.
    """

    labels: Sequence[str]
    thresholds: Tensor
    logits: Tensor
    targets: Tensor
    loss: Tensor
    uncalibrated: Tensor | None = None

    def cpu(self) -> "Evaluation":
        """Returns the evaluation on the processor, for drawing."""
        if self.logits.device.type == "cpu":
            return self
        uncalibrated = self.uncalibrated.cpu() if self.uncalibrated is not None else None
        thresholds, logits, targets, loss = (
            part.cpu() for part in (self.thresholds, self.logits, self.targets, self.loss)
        )
        return Evaluation(self.labels, thresholds, logits, targets, loss, uncalibrated)

    @cached_property
    def probabilities(self) -> Tensor:
        """float32 (N, L)."""
        return self.logits.sigmoid()

    @cached_property
    def tags(self) -> Tensor:
        """Bool (N, L): the labels whose probability reaches their threshold."""
        return self.probabilities >= self.thresholds

    @property
    def wrong(self) -> Tensor:
        """Bool (N,): the images with a wrong tag."""
        return (self.tags != self.targets.bool()).any(dim=1)

    @cached_property
    def label_rankings(self) -> tuple[Tensor, Tensor]:
        """Each label's average precision and AUROC (L,); see `metrics.label_rankings`."""
        return label_rankings(self.probabilities, self.targets)

    @cached_property
    def metrics(self) -> dict[str, Tensor]:
        """Everything that is said of a model in one number.

        The loss; the `decision_metrics` at the thresholds; the same at 0.5, with `_at_half`
        after their names; the `ranking_metrics`; the `calibration_error` and, of a calibrated model, what it was
        before, `calibration_error_uncalibrated`; label_accuracy_of_no_tags: what predicting no tag at all would score,
        the floor of label_accuracy.
        """
        at_half = decision_metrics(self.probabilities >= HALF, self.targets)
        metrics = {
            "loss": self.loss,
            **decision_metrics(self.tags, self.targets),
            **{f"{name}_at_half": value for name, value in at_half.items()},
            **ranking_metrics(self.probabilities, self.targets, *self.label_rankings),
            "calibration_error": calibration_error(self.probabilities, self.targets),
        }
        if self.uncalibrated is not None:
            before = calibration_error(self.uncalibrated.sigmoid(), self.targets)
            metrics["calibration_error_uncalibrated"] = before
        return {**metrics, "label_accuracy_of_no_tags": 1 - self.targets.float().mean()}
