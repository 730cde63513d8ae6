"""Pictures of results."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from multilabel_pl.model.prediction import name_tags

TAGGED, UNTAGGED = "tab:blue", "lightgrey"
ROW_INCHES = 2.4
WIDTH_INCHES = 8.0


@dataclass(frozen=True)
class TaggedImage:
    """An image with what is true of it and what is predicted.

    Attributes:
        image: uint8 (C, H, W), C of 1 or 3.
        name: What to call it.
        true_tags: bool (L,).
        probabilities: (L,).
    """

    image: Tensor
    name: str
    true_tags: Tensor
    probabilities: Tensor


def prediction_figure(items: Sequence[TaggedImage], labels: Sequence[str], thresholds: Tensor) -> Figure:
    """Draws each image beside the bars of its probabilities.

    A bar that reaches its label's threshold, drawn as a line across it, is coloured; true labels are in bold.

    Args:
        items: The images, one a row.
        labels: Names of the labels.
        thresholds: (L,).
    """
    figure = Figure(figsize=(WIDTH_INCHES, ROW_INCHES * len(items) + 0.3), layout="constrained")
    rows = figure.subplots(len(items), 2, width_ratios=(1, 2.6), squeeze=False)
    for (left, right), item in zip(rows, items, strict=True):
        _draw_image(left, item, labels)
        _draw_bars(right, item, labels, thresholds)
    return figure


def _draw_image(axes: Axes, item: TaggedImage, labels: Sequence[str]) -> None:
    axes.imshow(item.image.permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=255)  # (C, H, W) -> (H, W, C)
    axes.set_title(f"{item.name}: {_named(item.true_tags, labels)}")
    axes.set_axis_off()


def _draw_bars(axes: Axes, item: TaggedImage, labels: Sequence[str], thresholds: Tensor) -> None:
    places = range(len(labels))
    tags = item.probabilities >= thresholds
    axes.bar(places, item.probabilities.tolist(), color=[TAGGED if tag else UNTAGGED for tag in tags])
    axes.hlines(thresholds.tolist(), [p - 0.45 for p in places], [p + 0.45 for p in places], color="black", lw=1)
    axes.set_xticks(places, labels)
    for name, true in zip(axes.get_xticklabels(), item.true_tags.tolist(), strict=True):
        name.set_fontweight("bold" if true else "normal")
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("probability")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"predicted: {_named(tags, labels)}")


def _named(tags: Tensor, labels: Sequence[str]) -> str:
    [names] = name_tags(tags[None], labels)
    return ", ".join(names) or "no tag"
