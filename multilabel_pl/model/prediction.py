"""Predictions by the names of the labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from multilabel_pl.html_tables import html_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12  # of the labels, in notebooks


class PredictedBatch(NamedTuple):
    """The output of `predict_step`.

    Attributes:
        probabilities: float32 (B, L).
        tags: bool (B, L).
        metadata: What came with the images: targets (B, L) of labelled images, or the problem of each file.
    """

    probabilities: Tensor
    tags: Tensor
    metadata: Any


@dataclass(frozen=True, repr=False)
class Prediction:
    """The prediction for one image.

    Attributes:
        tags: The names of the labels whose probability reaches their threshold, in the order of the labels.
        probabilities: The probability of every label, by name.
    """

    tags: list[str]
    probabilities: dict[str, float]

    def __str__(self) -> str:
        """Lists the tags, each with its probability."""
        return ", ".join(f"{tag} ({self.probabilities[tag]:.3f})" for tag in self.tags) or "no tag"

    def __repr__(self) -> str:
        """Shows probabilities with three decimals, so that eleven labels fit on a line."""
        probabilities = ", ".join(f"{label!r}: {value:.3f}" for label, value in self.probabilities.items())
        return f"Prediction(tags={self.tags}, probabilities={{{probabilities}}})"

    def _repr_html_(self) -> str:
        rows = [[label, f"{value:.3f}", "✓" * (label in self.tags)] for label, value in self._highest()]
        return html_table(["label", "probability", "tag"], rows)

    def plot(self) -> "Figure":
        """Draws the twelve highest probabilities as bars, those of the tags in colour; notebooks show the figure."""
        from multilabel_pl.model.prediction_plot import PredictionFigure  # matplotlib takes a while to import

        return PredictionFigure(dict(self._highest()), self.tags)

    def _highest(self) -> list[tuple[str, float]]:
        return sorted(self.probabilities.items(), key=lambda item: item[1], reverse=True)[:SHOWN]


def name_tags(tags: Tensor, labels: Sequence[str]) -> list[list[str]]:
    """Names the tags of every row of a bool (N, L)."""
    named: list[list[str]] = [[] for _ in range(len(tags))]
    rows, columns = tags.nonzero(as_tuple=True)  # not as pairs: so many objects would wake the garbage collector
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        named[row].append(labels[column])
    return named


def name_predictions(probabilities: Tensor, tags: Tensor, labels: Sequence[str]) -> list[Prediction]:
    """Names the probabilities, float (N, L), and tags, bool (N, L), of every image."""
    named = zip(name_tags(tags, labels), probabilities.tolist(), strict=True)
    return [Prediction(names, dict(zip(labels, row, strict=True))) for names, row in named]
