"""Rules for thresholds, as they are written: numbers, `f1`, `recall>=0.9@0.95` and so on."""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from multilabel_pl.errors import InputError

FALLBACK = 0.5  # the threshold of a label until one is learned, and of a label that can't meet its rule
RULES = "f1, f1_exact, micro_f1, exact_match, precision>=P or recall>=R, with @C for a guarantee of confidence C"

Threshold = float | list[float] | str  # one number for all labels, one for each, or the text of a rule
Best = Literal["f1", "f1_exact", "micro_f1", "exact_match"]
Bounded = Literal["precision", "recall"]

NUMBER = r"\d*\.?\d+(?:e-?\d+)?"
BOUND = re.compile(rf"(precision|recall)>=({NUMBER})(?:@({NUMBER})(jointly)?)?")


@dataclass(frozen=True)
class Rule:
    """What a threshold is chosen for.

    Attributes:
        metric: `f1`: the highest F1 to be expected; `f1_exact`: the highest F1 on the validation images; `micro_f1`:
            the highest F1 of all decisions together, by one threshold for all labels; `exact_match`: the most images
            with no wrong tag; `precision`: the highest recall with at least the minimum of precision; `recall`: the
            highest precision with at least the minimum of recall.
        minimum: The least precision or recall, in [0, 1].
        confidence: The probability, over the draw of the validation images, with which the minimum holds on new ones.
            Without it, the minimum holds on the validation images themselves.
        jointly: Whether the confidence is for all labels at once rather than for each.
    """

    metric: Best | Bounded
    minimum: float = 0.0
    confidence: float | None = None
    jointly: bool = False

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Reads the name of a rule, `precision>=P` or `recall>=R`; these two also with `@C` or `@C jointly`.

        Raises:
            InputError: If the text is none of these, or a number is out of range.
        """
        words = text.replace(" ", "")
        for name in get_args(Best):
            if words == name:
                return cls(name)
        parts = BOUND.fullmatch(words)
        if parts is None or not 0 <= float(parts[2]) <= 1:
            raise InputError(f"threshold {text} is neither a number nor a rule, which are {RULES}; P and R in [0, 1]")
        metric: Bounded = "precision" if parts[1] == "precision" else "recall"
        minimum = float(parts[2])
        if parts[3] is None:
            return cls(metric, minimum)
        confidence = float(parts[3])
        if not (0 < minimum < 1 and 0 < confidence < 1):
            raise InputError(f"a guarantee needs numbers above 0 and below 1, as in {metric}>=0.9@0.95, got {text}")
        return cls(metric, minimum, confidence, parts[4] is not None)

    @property
    def without_enough(self) -> str:
        """How a label keeps a guarantee that too few images can show."""
        return "every image is tagged" if self.metric == "recall" else "no image is tagged"

    @property
    def promise(self) -> str | None:
        """What the rule guarantees, in a sentence; None without a guarantee."""
        if self.confidence is None:
            return None
        chance = f"with a confidence of {self.confidence:g}"
        bound = f"a {self.metric} of at least {self.minimum:g}"
        holds = f"{chance}, every label has {bound}" if self.jointly else f"each label has {bound} {chance}"
        return (
            f"Promised: on images like those that thresholds were learned from, {holds}; strictly, if those did not "
            "choose the epoch as well."
        )


class Learned(NamedTuple):
    """Thresholds, as far as they could be learned.

    Attributes:
        thresholds: float32 (L,).
        found: Bool (L,): whether the threshold was learned, rather than what a label has instead: 0.5 or, for a
            guarantee, what keeps it.
        needed: Of a guarantee, the least number of positives (recall) or of right tags (precision).
    """

    thresholds: Tensor
    found: Tensor
    needed: int | None = None


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
