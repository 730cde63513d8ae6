"""Figures of predictions."""

import math
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
from multilabel_pl.results.text import listed
from multilabel_pl.results.true_tags import name_true_tags

SHEET_COLUMNS = 10
CELL_INCHES = 1.4
GAP = 0.15  # of a cell, after the heat maps of an image
NAME_LENGTH = 18
TITLE_LENGTH = 22
BAR_NAME_LENGTH = 26
PREDICTED_LENGTH = 48
NAMES_LENGTH = 60  # of the names below the bars, side by side
MAX_BARS = 25
HEAT_MAPS = "what speaks for a label: each map on a scale of its own, from faint yellow to red"
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
    columns = min(len(items), SHEET_COLUMNS)
    rows = math.ceil(len(items) / columns)
    figure = Figure(figsize=(CELL_INCHES * columns, (CELL_INCHES + 0.45) * rows), layout="constrained")
    cells = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in cells:
        axes.set_axis_off()
        axes.set_anchor("N")  # names of a row on one line, however high the images
    for axes, item in zip(cells, items, strict=False):
        _draw_tagged(axes, item, labels, thresholds)
    return figure


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
    rows = math.ceil(len(items) / columns)
    size = (CELL_INCHES * columns * (width + GAP), (CELL_INCHES + 0.45) * rows)
    figure = Figure(figsize=size, layout="constrained")
    cells = figure.subplots(rows, columns * (width + 1), squeeze=False, width_ratios=([1.0] * width + [GAP]) * columns)
    for axes in cells.flat:
        axes.set_axis_off()
        axes.set_anchor("N")
    for (left, *others), item, maps in zip(cells.reshape(-1, width + 1), items, heat_maps, strict=False):
        _draw_tagged(left, item, labels, thresholds)
        for axes, heat_map, label in zip(others, maps, explained, strict=False):
            _show(axes, heat_map)
            name = shortened(labels[label], NAME_LENGTH)
            is_tag = bool(item.probabilities[label] >= thresholds[label])
            axes.set_title(
                f"{name}\n{item.probabilities[label]:.2f}", fontsize=9, fontweight="bold" if is_tag else None
            )
    figure.supxlabel(HEAT_MAPS, fontsize=8, color="grey", wrap=True)
    return figure


def _draw_tagged(axes: Axes, item: TaggedImage, labels: Sequence[str], thresholds: Tensor) -> None:
    tags = item.probabilities >= thresholds
    wrong = item.targets is not None and bool(torch.where(tags, item.targets <= 0, item.targets > 0).any())
    _show(axes, item.image)
    names = listed(_names(tags, labels), NAME_LENGTH, lines=3)
    axes.set_title(f"{shortened(item.name, NAME_LENGTH)}\n{names}", fontsize=9, color=WRONG if wrong else "black")


def _show(axes: Axes, image: Tensor) -> None:
    show_image(axes, image)
    axes.set_axis_on()
    axes.spines[:].set_color(REFERENCE)  # where a white image ends


def _draw_image(axes: Axes, item: TaggedImage, labels: Sequence[str]) -> None:
    _show(axes, item.image)
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
