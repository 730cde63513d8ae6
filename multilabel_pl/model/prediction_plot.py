"""A prediction as a figure, which notebooks show."""

import io
from collections.abc import Collection, Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure


class PredictionFigure(Figure):
    """Bars of probabilities, those of the tags in colour.

    Args:
        probabilities: Of the labels to draw, by name, from top to bottom.
        tags: The names of those that are tags.
    """

    def __init__(self, probabilities: Mapping[str, float], tags: Collection[str], **kwargs: Any) -> None:
        super().__init__(figsize=(5, 0.6 + 0.26 * len(probabilities)), layout="constrained", **kwargs)
        with matplotlib.rc_context({"text.parse_math": False}):  # names are text
            axes = self.subplots()
            colors = ["tab:blue" if label in tags else "lightgrey" for label in probabilities]
            axes.barh(range(len(colors)), list(probabilities.values()), color=colors)
            axes.set_yticks(range(len(colors)), list(probabilities))
            axes.set(xlim=(0, 1), xlabel="probability")
            axes.invert_yaxis()
            axes.spines[["top", "right"]].set_visible(False)

    def _repr_png_(self) -> bytes:
        """Is for notebooks, which show only figures of pyplot by themselves."""
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()
