"""Thresholds: one for each label, learned on validation images."""

import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from multilabel_pl.errors import InputError

FALLBACK = 0.5  # the threshold of a label until one is learned, and of a label that can't meet its rule
EXCLUDED = -1.0  # less than any precision, recall or F1

Threshold = float | list[float] | str  # one number for all labels, one for each, or the text of a rule


@dataclass(frozen=True)
class Rule:
    """What a threshold is chosen for.

    Attributes:
        metric: `f1`: the highest F1; `precision`: the highest recall with at least the minimum of precision; `recall`:
            the highest precision with at least the minimum of recall.
        minimum: The least precision or recall, in [0, 1].
    """

    metric: Literal["f1", "precision", "recall"]
    minimum: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Reads `f1`, `precision>=P` or `recall>=R`.

        Raises:
            InputError: If the text is none of these, or its number is not in [0, 1].
        """
        words = text.replace(" ", "")
        if words == "f1":
            return cls("f1")
        parts = re.fullmatch(r"(precision|recall)>=(\d*\.?\d+(?:e-?\d+)?)", words)
        if parts is None or not 0 <= float(parts[2]) <= 1:
            rules = "f1, precision>=P or recall>=R, P and R in [0, 1]"
            raise InputError(f"threshold must be in [0, 1], or {rules}, got {text}")
        return cls("precision" if parts[1] == "precision" else "recall", float(parts[2]))


def check_threshold(threshold: Threshold, num_labels: int | None = None) -> None:
    """Checks a threshold; that there are as many as labels, if their number is known.

    Raises:
        InputError: If a number is not in [0, 1], the rule is unknown, or there are not as many as labels.
    """
    if isinstance(threshold, str):
        Rule.parse(threshold)
    else:
        fixed_thresholds(threshold, num_labels or (len(threshold) if isinstance(threshold, list) else 1))


def fixed_thresholds(threshold: float | list[float], num_labels: int) -> Tensor:
    """Returns thresholds (L,) from one number, or from a list with one for each label.

    Raises:
        InputError: If a threshold is not in [0, 1], or there are not as many as labels.
    """
    thresholds = threshold if isinstance(threshold, list) else [threshold] * num_labels
    if wrong := [value for value in thresholds if not 0 <= value <= 1]:
        raise InputError(f"threshold must be in [0, 1], got {wrong[0]}")
    if len(thresholds) != num_labels:
        raise InputError(f"threshold must be a number or {num_labels} of them, got {len(thresholds)}")
    return torch.tensor(thresholds, dtype=torch.float32)


def learn_thresholds(probabilities: Tensor, targets: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    """Finds the best threshold of every label.

    The search is exact: a label's images are sorted by probability, and precision and recall are counted at every
    threshold between two that differ, midway between them. Among equals, the one with the highest F1 is taken, then the
    one with the fewest tags.

    Args:
        probabilities: float (N, L), with N at least 1.
        targets: (N, L) of 0 and 1.
        rule: What to choose for.

    Returns:
        Thresholds float32 (L,), and bool (L,): whether each was learned. The others, of labels without positives or
        whose probabilities can't meet the rule, are 0.5.
    """
    scores, order = probabilities.float().T.sort(dim=1, descending=True)  # (L, N)
    hits = targets.T.gather(1, order).double().cumsum(dim=1)  # (L, N): true positives among the first so many
    tagged = torch.arange(1, len(targets) + 1, device=hits.device)  # (N,)
    positives = hits[:, -1:]  # (L, 1)
    below = torch.cat([scores[:, 1:], torch.zeros_like(scores[:, :1])], dim=1)  # (L, N): the next lower score
    separates = scores > below
    separates[:, -1] = True

    precision, recall, f1 = hits / tagged, hits / positives, 2 * hits / (tagged + positives)
    if rule.metric == "f1":
        worth = f1
    elif rule.metric == "precision":
        worth = recall.where(precision >= rule.minimum, EXCLUDED)
    else:
        worth = precision.where(recall >= rule.minimum, EXCLUDED)
    worth = worth.where(separates, EXCLUDED)
    most = worth.amax(dim=1, keepdim=True)  # (L, 1)
    best = f1.where(worth == most, EXCLUDED).argmax(dim=1, keepdim=True)  # (L, 1), the first of equals

    upper, lower = scores.gather(1, best), below.gather(1, best)
    middle = upper / 2 + lower / 2
    thresholds = middle.where(middle > lower, upper)  # between two neighbouring floats there is no middle
    learned = (positives > 0) & (most > EXCLUDED)
    return thresholds.where(learned, FALLBACK)[:, 0], learned[:, 0]
