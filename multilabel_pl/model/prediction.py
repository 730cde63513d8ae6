"""What a model says of an image, by the names of its labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image.

    Attributes:
        tags: The names of the labels whose probability reaches their threshold, in the order of the labels.
        probabilities: The probability of every label, by name.
    """

    tags: list[str]
    probabilities: dict[str, float]


def name_tags(tags: Tensor, labels: Sequence[str]) -> list[list[str]]:
    """Names the tags of every row of a bool (N, L)."""
    return [[label for label, tag in zip(labels, row, strict=True) if tag] for row in tags.tolist()]


def name_predictions(probabilities: Tensor, tags: Tensor, labels: Sequence[str]) -> list[Prediction]:
    """Names the probabilities, float (N, L), and tags, bool (N, L), of every image."""
    named = zip(name_tags(tags, labels), probabilities.tolist(), strict=True)
    return [Prediction(names, dict(zip(labels, row, strict=True))) for names, row in named]
