"""Figures of predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from multilabel_pl.data.annotations.records import UNKNOWN_MARK
from multilabel_pl.messages import shortened
from multilabel_pl.model.prediction import name_tags
from multilabel_pl.results.figures import MODEL, REFERENCE, WRONG, show_image
from multilabel_pl.results.image_sheet import Cell, image_sheet
from multilabel_pl.results.text import listed
from multilabel_pl.results.true_tags import name_true_tags

SHEET_COLUMNS = 10
CELL_INCHES = 1.4
NAME_LENGTH = 18
TITLE_LENGTH = 22
BAR_NAME_LENGTH = 26
PREDICTED_LENGTH = 48
NAMES_LENGTH = 60  # of the names below the bars, side by side
MAX_BARS = 25
HEAT_MAPS = "heat maps: what speaks for a label, each on a scale of its own"
ROW_INCHES, HIGH_ROW_INCHES = 2.4, 3.9  # with horizontal and with vertical names below the bars
WIDTH_INCHES = 8.0


@dataclass(frozen=True)
class TaggedImage:
    """An image with its true and its predicted tags.

    Attributes:
        image: uint8 (C, H, W), C of 1 or 3.
        name: Its name in the figure.
        targets: (L,): 1, 0, or NaN where unknown; None if all are.
        probabilities: (L,).
    """

    image: Tensor
    name: str
    targets: Tensor | None
    probabilities: Tensor


def prediction_figure(items: Sequence[TaggedImage], labels: Sequence[str], thresholds: Tensor) -> Figure:
    """Draws each image beside the bars of its probabilities.

    A bar that reaches its label's threshold, drawn as a line across it, is coloured; true labels are in bold, and
    unknown ones have a question mark before their names.

    Args:
        items: The images, one in each row.
        labels: Names of the labels.
        thresholds: (L,).
    """
    row = ROW_INCHES if sum(map(len, labels)) <= NAMES_LENGTH else HIGH_ROW_INCHES
    figure = Figure(figsize=(WIDTH_INCHES, row * len(items) + 0.3), layout="constrained")
    rows = figure.subplots(len(items), 2, width_ratios=(1, 2.6), squeeze=False)
    for (left, right), item in zip(rows, items, strict=True):
        _draw_image(left, item, labels)
        _draw_bars(right, item, labels, thresholds)
    return figure


def contact_sheet(items: Sequence[TaggedImage], labels: Sequence[str], thresholds: Tensor) -> Figure:
    """Draws images with their names and their predicted tags, in red where they are known to be wrong.

    Args:
        items: The images.
        labels: Names of the labels.
        thresholds: (L,).
    """
    cells = [_tagged(item, labels, thresholds) for item in items]
    return image_sheet(cells, min(len(items), SHEET_COLUMNS), CELL_INCHES)


def heat_map_sheet(
    items: Sequence[TaggedImage], heat_maps: Tensor, explained: Sequence[int], labels: Sequence[str], thresholds: Tensor
) -> Figure:
    """Draws images as a contact sheet does, and beside each its heat maps with the probabilities of their labels.

    Names of labels that an image is tagged with are in bold.

    Args:
        items: The images, N of them.
        heat_maps: Over the images as the model sees them, uint8 (N, K, 3, H, W).
        explained: Indices of the K labels.
        labels: Names of all labels.
        thresholds: (L,).
    """
    width = 1 + len(explained)
    columns = min(len(items), max(SHEET_COLUMNS // width, 1))  # of images with their heat maps
    cells = []
    for item, maps in zip(items, heat_maps, strict=True):
        cells.append(_tagged(item, labels, thresholds))
        for label, heat_map in zip(explained, maps, strict=True):
            text = f"{shortened(labels[label], NAME_LENGTH)}\n{item.probabilities[label]:.2f}"
            cells.append(Cell(heat_map, text, is_bold=bool(item.probabilities[label] >= thresholds[label])))
    return image_sheet(cells, columns * width, CELL_INCHES, group=width, title=HEAT_MAPS)


def _tagged(item: TaggedImage, labels: Sequence[str], thresholds: Tensor) -> Cell:
    tags = item.probabilities >= thresholds
    wrong = item.targets is not None and bool(torch.where(tags, item.targets <= 0, item.targets > 0).any())
    names = listed(_names(tags, labels), NAME_LENGTH, lines=3)
    return Cell(item.image, f"{shortened(item.name, NAME_LENGTH)}\n{names}", color=WRONG if wrong else "black")


def _draw_image(axes: Axes, item: TaggedImage, labels: Sequence[str]) -> None:
    show_image(axes, item.image)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(REFERENCE)  # where a white image ends
    name = shortened(item.name, TITLE_LENGTH)
    true = "" if item.targets is None else listed(_true_names(item.targets, labels), TITLE_LENGTH, lines=3)
    on_one_line = len(name) + len(true) < TITLE_LENGTH - 1
    axes.set_title(f"{name}: {true}" if true and on_one_line else f"{name}\n{true}".strip())


def _draw_bars(axes: Axes, item: TaggedImage, labels: Sequence[str], thresholds: Tensor) -> None:
    tags = item.probabilities >= thresholds
    shown = _bars(item, tags)
    names = _marked(item, labels, shown)
    places = range(len(shown))
    colors = [MODEL if tag else REFERENCE for tag in tags[shown]]
    axes.bar(places, item.probabilities[shown].tolist(), color=colors)
    lines = thresholds[shown].tolist()
    axes.hlines(lines, [p - 0.45 for p in places], [p + 0.45 for p in places], color="black", lw=1)
    crowded = sum(map(len, names)) > NAMES_LENGTH
    axes.set_xticks(places, [shortened(name, BAR_NAME_LENGTH) for name in names], rotation=90 if crowded else 0)
    if item.targets is not None:
        for name, true in zip(axes.get_xticklabels(), (item.targets > 0)[shown].tolist(), strict=True):
            name.set_fontweight("bold" if true else "normal")
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("probability")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"predicted: {listed(_names(tags, labels), PREDICTED_LENGTH, lines=1)}")


def _bars(item: TaggedImage, tags: Tensor) -> list[int]:
    """Chooses the labels to draw, if not all: those that are true or predicted first, then the most probable."""
    certain = tags if item.targets is None else tags | (item.targets > 0)
    order = (item.probabilities + certain.float()).argsort(descending=True)
    return sorted(order[:MAX_BARS].tolist())


def _marked(item: TaggedImage, labels: Sequence[str], shown: list[int]) -> list[str]:
    """Names the labels to draw, with a mark before those that are unknown."""
    unknown = torch.zeros_like(item.probabilities) if item.targets is None else item.targets.isnan()
    return [UNKNOWN_MARK + labels[i] if unknown[i] else labels[i] for i in shown]


def _true_names(targets: Tensor, labels: Sequence[str]) -> list[str]:
    [names] = name_true_tags(targets[None], labels)
    return names or ["no tag"]


def _names(tags: Tensor, labels: Sequence[str]) -> list[str]:
    [names] = name_tags(tags[None], labels)
    return names or ["no tag"]
