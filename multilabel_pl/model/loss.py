"""What training minimises, and what helps where positives are rare or labels wrong.

Every loss is on logits whose sigmoid is the label's probability p, and is the mean over all decisions.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from multilabel_pl.errors import InputError, check_choice

LossName = Literal["bce", "asymmetric"]

LEAST_ERROR = 1e-20  # as good as 0, where a fractional power would have an infinite slope


@dataclass(frozen=True)
class Loss:
    """A loss and its options.

    Attributes:
        name: `bce` or `asymmetric`.
        gamma_pos: Of the asymmetric loss, as the next two; see `asymmetric_loss`.
        gamma_neg: At least 0.
        clip: 0 <= clip < 1.

    Raises:
        InputError: If a value is out of range.
    """

    name: LossName
    gamma_pos: float
    gamma_neg: float
    clip: float

    def __post_init__(self) -> None:
        check_choice("loss", self.name, get_args(LossName))
        for name in ("gamma_pos", "gamma_neg"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.clip < 1:
            raise InputError(f"clip must be in [0, 1), got {self.clip}")

    def __call__(self, logits: Tensor, targets: Tensor, pos_weight: Tensor | None) -> Tensor:
        """Returns the mean over all decisions of logits (B, L) and targets (B, L) in [0, 1]."""
        targets = targets.to(logits.dtype)  # where training in a low precision has lowered theirs
        if self.name == "bce":
            return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight)
        return asymmetric_loss(logits, targets, self.gamma_pos, self.gamma_neg, self.clip, pos_weight)


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    clip: float = 0.05,
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy that cares less for easy decisions, and may do so for negatives more than for positives.

    A positive costs -(1 - p)^gamma_pos log(p), a negative -p_m^gamma_neg log(1 - p_m) with p_m = max(p - clip, 0),
    after Ridnik et al., Asymmetric Loss for Multi-Label Classification (https://arxiv.org/abs/2009.14119), whose
    defaults these are. Equal gammas without clip make it the focal loss, zeros the binary cross-entropy. The gradient
    is that of the formula; the authors' code can also take the powers for constants, and sums where this averages.

    Args:
        logits: float (B, L).
        targets: (B, L) in [0, 1], of the logits' type. One in between costs its share of a positive and of a negative.
        gamma_pos: At least 0.
        gamma_neg: At least 0.
        clip: 0 <= clip < 1. Negatives with a probability up to it cost nothing.
        pos_weight: What to multiply the cost of positives by, (L,).

    Returns:
        The mean over all B * L decisions, ().
    """
    # log(1 - p_m) = log(min(1 - p + clip, 1)); the least is taken in _focus. Without clip, 1 - p may round to 0.
    log_rest = torch.log(torch.sigmoid(-logits) + clip) if clip else F.logsigmoid(-logits)
    positives = _focus(F.logsigmoid(logits), gamma_pos)
    if pos_weight is not None:
        positives = positives * pos_weight
    return -torch.lerp(_focus(log_rest, gamma_neg), positives, targets).mean()


def _focus(log_likelihood: Tensor, gamma: float) -> Tensor:
    """Multiplies the logarithms of likelihoods P by (1 - P)^gamma; those above 0 count as 0."""
    log_likelihood = log_likelihood.clamp(max=-LEAST_ERROR)
    if gamma == 0:
        return log_likelihood
    return log_likelihood * (-torch.expm1(log_likelihood)).pow(gamma)


def balancing_weights(positives: Tensor, total: int) -> Tensor:
    """Weighs positives such that each label's weigh as much as its negatives.

    The choice that PyTorch's documentation of BCEWithLogitsLoss suggests for pos_weight.

    Args:
        positives: Number of each label's positives, (L,).
        total: Number of examples.

    Returns:
        Negatives / positives, float (L,); 1 for a label without positives or without negatives.
    """
    negatives = total - positives
    return (negatives / positives).where((positives > 0) & (negatives > 0), 1.0)


def smooth(targets: Tensor, amount: float) -> Tensor:
    """Moves targets towards 1/2, which keeps a network from certainty.

    Label smoothing, after Szegedy et al., Rethinking the Inception Architecture (https://arxiv.org/abs/1512.00567),
    for the two classes of each decision: y becomes y (1 - amount) + amount / 2.

    Args:
        targets: float (B, L) in [0, 1].
        amount: 0 <= amount < 1.

    Returns:
        Targets (B, L).
    """
    return targets * (1 - amount) + amount / 2
