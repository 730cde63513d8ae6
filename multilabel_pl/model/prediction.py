"""What a model says of an image, by the names of its labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, repr=False)
class Prediction:
    """What the model says of one image.

    Attributes:
        tags: The names of the labels whose probability reaches their threshold, in the order of the labels.
        probabilities: The probability of every label, by name.
    """

    tags: list[str]
    probabilities: dict[str, float]

    def __str__(self) -> str:
        """Says the tags, each with its probability."""
        return ", ".join(f"{tag} ({self.probabilities[tag]:.3f})" for tag in self.tags) or "no tag"

    def __repr__(self) -> str:
        """Shows the probabilities in three places, since the eleven of an image should fit on a line."""
        probabilities = ", ".join(f"{label!r}: {value:.3f}" for label, value in self.probabilities.items())
        return f"Prediction(tags={self.tags}, probabilities={{{probabilities}}})"


def name_tags(tags: Tensor, labels: Sequence[str]) -> list[list[str]]:
    """Names the tags of every row of a bool (N, L)."""
    named: list[list[str]] = [[] for _ in range(len(tags))]
    rows, columns = tags.nonzero(as_tuple=True)  # as pairs, they would be so many objects that garbage is collected
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        named[row].append(labels[column])
    return named


def name_predictions(probabilities: Tensor, tags: Tensor, labels: Sequence[str]) -> list[Prediction]:
    """Names the probabilities, float (N, L), and tags, bool (N, L), of every image."""
    named = zip(name_tags(tags, labels), probabilities.tolist(), strict=True)
    return [Prediction(names, dict(zip(labels, row, strict=True))) for names, row in named]
