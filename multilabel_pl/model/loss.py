"""Losses, and what helps where positives are rare or labels are wrong.

Every loss is on logits whose sigmoid is the label's probability p, and is the mean over the known decisions.
"""

import math
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multilabel_pl.errors import InputError, check_at_least, check_choice

LossName = Literal["bce", "asymmetric"]
Reduction = Literal["mean", "none"]

LEAST_ERROR = 1e-20  # instead of 0, where a fractional power has an infinite derivative


class Loss(nn.Module):
    """A loss on logits (B, L) and targets (B, L): the mean over the known decisions, those whose target is not NaN.

    Of several processes, or of batches whose gradients are accumulated, each takes the mean of its own.

    Args:
        name: `bce` or `asymmetric`.
        pos_weight: What the loss of positives is multiplied by: a number for each label, or `auto`, see `inspect`.
        gamma_pos: For the asymmetric loss, like the next two; see `asymmetric_loss`.
        gamma_neg: At least 0.
        clip: 0 <= clip < 1.
        label_smoothing: See `smooth`; in training mode alone.

    Attributes:
        pos_weight: The weights (L,), a buffer, if there are any; known after `bind`.
        all_known: Whether training can do without a look for NaN, which costs small networks some time in every step.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(
        self,
        name: LossName = "bce",
        pos_weight: list[float] | Literal["auto"] | None = None,
        gamma_pos: float = 0.0,
        gamma_neg: float = 4.0,
        clip: float = 0.05,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        check_choice("loss", name, get_args(LossName))
        if isinstance(pos_weight, str) and pos_weight != "auto":
            raise InputError(f"pos_weight must be auto or a list of numbers, got {pos_weight}")
        check_at_least(0, gamma_pos=gamma_pos, gamma_neg=gamma_neg)
        for option, value in {"clip": clip, "label_smoothing": label_smoothing}.items():
            if not 0 <= value < 1:
                raise InputError(f"{option} must be in [0, 1), got {value}")
        self.name = name
        self.requested_pos_weight = pos_weight
        self.gamma_pos, self.gamma_neg, self.clip = gamma_pos, gamma_neg, clip
        self.label_smoothing = label_smoothing
        self.all_known = False  # until the training images have shown it
        self.pos_weight: Tensor | None
        self.register_buffer("pos_weight", None)

    def bind(self, num_labels: int) -> None:
        """Sets the weights of positives for a number of labels.

        Raises:
            InputError: If weights were given that are not positive, or not as many.
        """
        weights = self.requested_pos_weight
        if weights is None:
            return
        if isinstance(weights, str):
            weights = [1.0] * num_labels  # until the training images are known
        if len(weights) != num_labels or not all(0 < weight < math.inf for weight in weights):
            raise InputError(f"pos_weight must be auto, or {num_labels} positive numbers, got {weights}")
        self.pos_weight = torch.tensor(weights, dtype=torch.float32)

    def inspect(self, train_dataloader: Any) -> None:
        """Looks at the targets of the training images: whether all are known, and for weights asked for with `auto`.

        Args:
            train_dataloader: Its dataset has `targets` (N, L). If not, some may be unknown.

        Raises:
            InputError: If it has none, and weights are asked for.
        """
        targets = getattr(getattr(train_dataloader, "dataset", None), "targets", None)
        found = targets if isinstance(targets, Tensor) and targets.ndim == 2 else None
        self.all_known = found is not None and not found.isnan().any().item()
        if self.requested_pos_weight != "auto" or self.pos_weight is None:
            return
        if found is None:
            raise InputError("pos_weight auto needs a training set with targets (N, L): give a list of weights")
        self.pos_weight.copy_(balancing_weights(found.nansum(dim=0), (~found.isnan()).sum(dim=0)))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean over the known decisions, (); 0 without any."""
        targets = targets.to(logits.dtype)  # where training in a low precision has lowered theirs
        if self.training and self.label_smoothing > 0:
            targets = smooth(targets, self.label_smoothing)
        if self.training and self.all_known:
            return self._loss(logits, targets, "mean")
        return self.of_known(logits, targets)

    def of_known(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the same without smoothing, whatever was seen of the training images."""
        known = ~targets.isnan()
        # Logits, too: a decision that counts nothing could still have a gradient of NaN.
        losses = self._loss(logits.where(known, 0), targets.to(logits.dtype).where(known, 0), "none").where(known, 0)
        share = known.to(losses.dtype).mean()
        return losses.mean() / share.where(share > 0, 1)

    def _loss(self, logits: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
        if self.name == "bce":
            return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.pos_weight, reduction=reduction)
        return asymmetric_loss(logits, targets, self.gamma_pos, self.gamma_neg, self.clip, self.pos_weight, reduction)


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    clip: float = 0.05,
    pos_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Binary cross-entropy that weighs easy decisions less, negatives more so than positives.

    A positive costs -(1 - p)^gamma_pos log(p), a negative -p_m^gamma_neg log(1 - p_m) with p_m = max(p - clip, 0),
    after Ridnik et al., Asymmetric Loss for Multi-Label Classification (https://arxiv.org/abs/2009.14119), whose
    defaults these are. Equal gammas without clip make it the focal loss, zeros the binary cross-entropy. The gradient
    is that of the formula; the authors' code can also treat the powers as constants, and sums where this averages.

    Args:
        logits: float (B, L).
        targets: (B, L) in [0, 1], of the logits' type. One in between costs its share of a positive and of a negative.
        gamma_pos: At least 0.
        gamma_neg: At least 0.
        clip: 0 <= clip < 1. Negatives with a probability up to it cost nothing.
        pos_weight: What the loss of positives is multiplied by, (L,).
        reduction: `mean` or `none`.

    Returns:
        The mean over all B * L decisions, (), or the loss of each, (B, L).
    """
    # log(1 - p_m) = log(min(1 - p + clip, 1)); the least is taken in _focus. Without clip, 1 - p may round to 0.
    log_rest = torch.log(torch.sigmoid(-logits) + clip) if clip else F.logsigmoid(-logits)
    positives = _focus(F.logsigmoid(logits), gamma_pos)
    if pos_weight is not None:
        positives = positives * pos_weight
    losses = torch.lerp(_focus(log_rest, gamma_neg), positives, targets)
    return -(losses.mean() if reduction == "mean" else losses)


def _focus(log_likelihood: Tensor, gamma: float) -> Tensor:
    """Multiplies the logarithms of likelihoods P by (1 - P)^gamma; those above 0 count as 0."""
    log_likelihood = log_likelihood.clamp(max=-LEAST_ERROR)
    if gamma == 0:
        return log_likelihood
    return log_likelihood * (-torch.expm1(log_likelihood)).pow(gamma)


def balancing_weights(positives: Tensor, total: Tensor | int) -> Tensor:
    """Weighs each label's positives as much as its negatives.

    As PyTorch's documentation of BCEWithLogitsLoss suggests for pos_weight.

    Args:
        positives: Number of each label's positives, (L,).
        total: Number of examples, of all labels or of each, (L,).

    Returns:
        Negatives / positives, float (L,); 1 for a label without positives or without negatives.
    """
    negatives = total - positives
    return (negatives / positives).where((positives > 0) & (negatives > 0), 1.0)


def smooth(targets: Tensor, amount: float) -> Tensor:
    """Moves targets towards 1/2, which keeps a network from being certain.

    Label smoothing, after Szegedy et al., Rethinking the Inception Architecture (https://arxiv.org/abs/1512.00567),
    for the two classes of each decision: y becomes y (1 - amount) + amount / 2.

    Args:
        targets: float (B, L) in [0, 1], or NaN.
        amount: 0 <= amount < 1.

    Returns:
        Targets (B, L).
    """
    return targets * (1 - amount) + amount / 2
