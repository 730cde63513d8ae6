"""Heads: from scores to logits whose sigmoid is the label's probability.

One loss, binary cross-entropy on logits, then serves every head.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from multilabel_pl.errors import InputError, check_choice

HeadName = Literal["sigmoid", "softmax"]


def sigmoid_head(scores: Tensor) -> Tensor:
    """Gives every label a probability of its own: the logits are the scores.

    Args:
        scores: (B, L).

    Returns:
        Logits (B, L).
    """
    return scores


def softmax_head(scores: Tensor) -> Tensor:
    """Makes the labels share one unit of probability, the tutorial's wrong method.

    The odds of label i under softmax are exp(z_i) to the sum of all other exp(z_j), so its logit is z_i minus the
    log-sum-exp of the other scores. It is exact at any size of the scores, where log(p / (1 - p)) would overflow.

    Args:
        scores: (B, L), L at least 2.

    Returns:
        Logits (B, L), with sigmoid(logits) = softmax(scores).
    """
    top = scores.argmax(dim=-1, keepdim=True)  # (B, 1)
    scores = scores - scores.gather(-1, top).detach()  # softmax knows differences only; small numbers lose no digits
    # The top label's share may round to 1, so the others are summed without it. Any other share is at most a half, and
    # may be taken away from the whole: log(sum of all - own) = log(sum of all) + log(1 - share).
    without_top = scores.scatter(-1, top, -torch.inf)
    log_sum_without_top = without_top.logsumexp(dim=-1, keepdim=True)  # (B, 1)
    log_sum = scores.logsumexp(dim=-1, keepdim=True)  # (B, 1)
    share = (without_top - log_sum).exp()  # (B, L), 0 for the top label
    log_sum_of_others = (log_sum + torch.log1p(-share)).scatter(-1, top, log_sum_without_top)
    return scores - log_sum_of_others


HEADS: dict[HeadName, Callable[[Tensor], Tensor]] = {"sigmoid": sigmoid_head, "softmax": softmax_head}


def check_head(head: HeadName, num_labels: int) -> None:
    """Checks that a head has enough labels.

    Raises:
        InputError: If not.
    """
    if num_labels < 1:
        raise InputError("the task has no labels: name at least one")
    if head == "softmax" and num_labels < 2:
        raise InputError("the softmax head needs at least 2 labels, got 1: use --model.head sigmoid")


def get_head(name: HeadName) -> Callable[[Tensor], Tensor]:
    """Returns the head of a name.

    Raises:
        InputError: If there is none.
    """
    check_choice("head", name, HEADS)
    return HEADS[name]
