"""From logits to tags: the calibration and the threshold of each label, learned on validation images."""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from multilabel_pl.messages import abridged
from multilabel_pl.model.calibration import cross_entropy, fit_calibration
from multilabel_pl.model.guarantees import EVERYTHING
from multilabel_pl.model.rules import FALLBACK, Learned, Rule, Threshold, fixed_thresholds
from multilabel_pl.model.thresholds import learn_thresholds

FEW = 5  # positives, below which a label is named in a note
EXCESS = 2  # tags for a true one, above which a note says so
BALANCED = (Rule("f1"), Rule("f1_exact"), Rule("micro_f1"))  # the rules that weigh wrong tags against missed ones


class Decision(nn.Module):
    """Decides which labels are tags: those with sigmoid(slope * logit + offset) >= threshold.

    Slopes, offsets, thresholds and the numbers of positives they were learned from, 0 before, are buffers, so a
    checkpoint has them among its weights.

    Args:
        labels: Names of the labels.
        threshold: A number, one for each label, or a rule by which `fit` learns them; until then they are 0.5.
        calibrate: Whether `fit` fits the calibration; else slopes are 1 and offsets 0.

    Attributes:
        notes: On labels for which something could not be learned, and what they have instead; a line each.
        is_learned: Whether thresholds that were learned were so by this rule, rather than by another one.

    Raises:
        InputError: If a threshold is not in [0, 1], the rule is unknown, or there are not as many as labels.
    """

    def __init__(self, labels: Sequence[str], threshold: Threshold, calibrate: bool) -> None:
        super().__init__()
        self.labels = labels
        self.slopes: Tensor
        self.offsets: Tensor
        self.thresholds: Tensor
        self.positives: Tensor
        self.register_buffer("slopes", torch.ones(len(labels)))
        self.register_buffer("offsets", torch.zeros(len(labels)))
        self.register_buffer("thresholds", torch.full((len(labels),), FALLBACK))
        self.register_buffer("positives", torch.zeros(len(labels), dtype=torch.int64))
        self.configure(threshold, calibrate)
        self.is_learned = True

    def configure(self, threshold: Threshold | None = None, calibrate: bool | None = None) -> None:
        """Changes what was given at construction, where it is not None; `fit` must follow unless numbers were given."""
        if threshold is not None:
            self.threshold = threshold
            self.is_learned = False
            self.rule, self.notes = None, []
            if isinstance(threshold, str):
                self.rule = Rule.parse(threshold)
                self.notes = [f"no threshold learned by {threshold}, as no validation ran: all stay as they are"]
            else:
                self.thresholds.copy_(fixed_thresholds(threshold, len(self.labels)))
        if calibrate is not None:
            self.calibrate = calibrate

    def restored(self, threshold: Threshold) -> None:
        """Notes what the thresholds, which have just been restored, were learned by."""
        self.is_learned = threshold == self.threshold

    @property
    def promise(self) -> str | None:
        """What the rule guarantees of the thresholds that were learned, in words; None without a guarantee."""
        if self.rule is None or self.rule.promise is None or not self.is_learned or not self.positives.any():
            return None
        kept = self._named((self.thresholds == EVERYTHING) | (self.thresholds > 1))
        return self.rule.promise + (f" With too few images: {self.rule.without_enough} with {kept}." if kept else "")

    def forward(self, logits: Tensor) -> Tensor:
        """Calibrates logits (..., L)."""
        return logits * self.slopes + self.offsets

    def tags(self, probabilities: Tensor) -> Tensor:
        """Returns bool (..., L): which calibrated probabilities (..., L) reach their thresholds."""
        return probabilities >= self.thresholds

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves buffers, but leaves them float32: a threshold in half precision would be another one."""

        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        moved: Self = super()._apply(move, recurse)  # type: ignore[no-untyped-call] # torch's
        return moved

    @torch.no_grad()
    def fit(self, logits: Tensor, targets: Tensor) -> None:
        """Fits the calibration and then, on calibrated probabilities, the thresholds.

        Args:
            logits: Uncalibrated, float32 (N, L) with N at least 1.
            targets: (N, L): 1, 0, or NaN where unknown.
        """
        self.notes = []
        self.positives.copy_(targets.nansum(dim=0))
        self.slopes.fill_(1)
        self.offsets.fill_(0)
        if self.calibrate:
            line = fit_calibration(logits, targets)
            better = cross_entropy(line(logits), targets) < cross_entropy(logits, targets)
            self.slopes.copy_(line.slopes.where(better, 1))
            self.offsets.copy_(line.offsets.where(better, 0))
        self.is_learned = True
        if self.rule is not None:
            learned = learn_thresholds(self(logits), targets, self.rule)
            self.thresholds.copy_(learned.thresholds)
            self._note(learned, self.rule)
            tags = self.tags(self(logits).sigmoid()) & ~targets.isnan()
            self._note_excess(tags.sum().item(), targets.nansum().item())

    def _note(self, learned: Learned, rule: Rule) -> None:
        """Notes on which labels little is known."""
        few = self._named((self.positives < FEW) & learned.found)
        if rule.confidence is not None:
            takes = "positives" if rule.metric == "recall" else "right tags and hardly any wrong ones"
            text = f"too few images for {self.threshold}, which takes {learned.needed} {takes}: "
            text += f"{rule.without_enough} with {{}}"
        else:
            text = f"no threshold learned by {self.threshold} for {{}}: using {FALLBACK}"
        for found, note in (self._named(~learned.found), text), (few, "few positives to learn a threshold from: {}"):
            if found:
                self.notes.append(note.format(found))

    def _note_excess(self, given: float, true: float) -> None:
        """Notes that a model knows too little for its thresholds to be of use; a rule for recall may want them so."""
        if self.rule in BALANCED and 0 < EXCESS * true < given:
            self.notes.append(
                f"the model knows little yet: {self.threshold} gives {given / true:.1f} tags for each "
                "true one; train longer, or set the threshold to 0.5"
            )

    def _named(self, chosen: Tensor) -> str:
        """Lists the labels that a bool (L,) chooses, with the numbers of their positives."""
        indices = chosen.nonzero()[:, 0].tolist()
        return abridged([f"{self.labels[i]} ({int(self.positives[i])})" for i in indices])
