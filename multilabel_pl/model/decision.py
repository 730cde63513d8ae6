"""From logits to tags: the calibration and the threshold of each label, learned on validation images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from multilabel_pl.model.calibration import fit_slopes
from multilabel_pl.model.prediction import name_tags
from multilabel_pl.model.thresholds import FALLBACK, Rule, Threshold, fixed_thresholds, learn_thresholds


class Decision(nn.Module):
    """Decides which labels are tags: those with sigmoid(slope * logit + offset) >= threshold.

    Slopes, offsets and thresholds are buffers, so a checkpoint has them among its weights.

    Args:
        labels: Names of the labels.
        threshold: A number, one for each label, or a rule by which `fit` learns them; until then they are 0.5.
        calibrate: Whether `fit` fits the calibration; else slopes are 1 and offsets 0.

    Attributes:
        notes: On labels for which something could not be learned, and what they have instead; a line each.

    Raises:
        InputError: If a threshold is not in [0, 1], the rule is unknown, or there are not as many as labels.
    """

    def __init__(self, labels: Sequence[str], threshold: Threshold, calibrate: bool) -> None:
        super().__init__()
        self.labels = labels
        self.slopes: Tensor
        self.offsets: Tensor
        self.thresholds: Tensor
        self.register_buffer("slopes", torch.ones(len(labels)))
        self.register_buffer("offsets", torch.zeros(len(labels)))
        self.register_buffer("thresholds", torch.full((len(labels),), FALLBACK))
        self.configure(threshold, calibrate)

    def configure(self, threshold: Threshold | None = None, calibrate: bool | None = None) -> None:
        """Changes what was given at construction, where it is not None; `fit` must follow unless numbers were given."""
        if threshold is not None:
            self.threshold = threshold
            self.rule, self.notes = None, []
            if isinstance(threshold, str):
                self.rule = Rule.parse(threshold)
                self.notes = [f"no threshold learned by {threshold}, as no validation ran: all stay as they are"]
            else:
                self.thresholds.copy_(fixed_thresholds(threshold, len(self.labels)))
        if calibrate is not None:
            self.calibrate = calibrate

    def forward(self, logits: Tensor) -> Tensor:
        """Calibrates logits (..., L)."""
        return logits * self.slopes + self.offsets

    def tags(self, probabilities: Tensor) -> Tensor:
        """Returns bool (..., L): which calibrated probabilities (..., L) reach their thresholds."""
        return probabilities >= self.thresholds

    @torch.no_grad()
    def fit(self, logits: Tensor, targets: Tensor) -> None:
        """Fits the calibration and then, on calibrated probabilities, the thresholds.

        Args:
            logits: Uncalibrated, float32 (N, L) with N at least 1.
            targets: (N, L) of 0 and 1.
        """
        self.notes = []
        self.slopes.fill_(1)
        if self.calibrate:
            slopes, fitted = fit_slopes(logits, targets)
            self.slopes.copy_(slopes)
            self._note_missing(fitted, "no calibration fitted for labels {}: using none")
        if self.rule is not None:
            thresholds, learned = learn_thresholds(self(logits).sigmoid(), targets, self.rule)
            self.thresholds.copy_(thresholds)
            self._note_missing(learned, f"no threshold learned by {self.threshold} for labels {{}}: using 0.5")

    def _note_missing(self, found: Tensor, text: str) -> None:
        [names] = name_tags(~found[None], self.labels)
        if names:
            self.notes.append(text.format(", ".join(names)))
