"""Images in rows, with texts above and below them.

All share one Axes whose unit is an inch: to lay out and draw an Axes for each would take ten times as long.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from torch import Tensor

from multilabel_pl.results.figures import REFERENCE, WRONG, show_image, write_within

TITLE, GAP, GROUP_GAP, TEXT_GAP = 0.4, 0.1, 0.2, 0.04  # inches: of the title, between images, groups, and to texts


class Cell(NamedTuple):
    """An image of a sheet.

    Attributes:
        image: uint8 (C, H, W), C of 1 or 3.
        above: Text above it.
        color: Of that text.
        is_bold: Whether that text is in bold.
        below: Text below it, in red.
    """

    image: Tensor
    above: str
    color: str = "black"
    is_bold: bool = False
    below: str = ""


def image_sheet(cells: Sequence[Cell], columns: int, inches: float, group: int = 0, title: str = "") -> Figure:
    """Draws images in rows, each as large as fits a square; those of a row begin on one line, however high they are.

    Args:
        cells: The images and their texts.
        columns: How many images are side by side.
        inches: From one image to the next.
        group: After how many images a row has a wider gap; none if 0.
        title: Of the figure.
    """
    figure = Figure()
    FigureCanvasAgg(figure)  # by which texts are measured
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    lefts = [GAP / 2 + inches * column + (GROUP_GAP * (column // group) if group else 0) for column in range(columns)]
    width, bottom = lefts[-1] + inches - GAP / 2, TITLE if title else GAP / 2
    for start in range(0, len(cells), columns):
        bottom = _draw_row(axes, cells[start : start + columns], lefts, bottom, inches - GAP)
    figure.set_size_inches(width, bottom)
    axes.set(xlim=(0, width), ylim=(bottom, 0))
    write_within(axes, figure.suptitle(title, y=1 - GAP / bottom), width)
    return figure


def _draw_row(axes: Axes, row: Sequence[Cell], lefts: Sequence[float], top: float, side: float) -> float:
    """Draws a row of images from `top` on; returns where it ends."""
    above = [_write_above(axes, cell, left, side) for cell, left in zip(row, lefts, strict=False)]
    line = top + max(_height(axes, text) for text in above)
    bottoms = []
    for text, cell, left in zip(above, row, lefts, strict=False):
        text.set_y(line - TEXT_GAP)
        bottoms.append(line + _draw_image(axes, cell.image, left, line, side))
        if cell.below:
            below = _write(axes, cell.below, left, side, y=bottoms[-1] + TEXT_GAP, va="top", color=WRONG)
            bottoms[-1] += _height(axes, below)
    return max(bottoms) + GAP


def _write_above(axes: Axes, cell: Cell, left: float, side: float) -> Text:
    weight = "bold" if cell.is_bold else "normal"
    return _write(axes, cell.above, left, side, va="bottom", color=cell.color, fontweight=weight)


def _draw_image(axes: Axes, image: Tensor, left: float, top: float, side: float) -> float:
    """Draws an image in the middle of a square, at its top; returns its height."""
    _, rows, columns = image.shape
    scale = side / max(rows, columns)
    width, height = columns * scale, rows * scale
    left += (side - width) / 2
    show_image(axes, image, (left, left + width, top + height, top))
    frame = Rectangle((left, top), width, height, fill=False, edgecolor=REFERENCE)  # where a white image ends
    axes.add_patch(frame)
    return height


def _write(axes: Axes, words: str, left: float, side: float, y: float = 0, **style: Any) -> Text:
    """Writes a text over or under a square, smaller if it is wider than that and the gap beside it."""
    text = axes.text(left + side / 2, y, words, ha="center", **style)
    write_within(axes, text, side + GAP)
    return text


def _height(axes: Axes, text: Text) -> float:
    """Returns the inches that a text takes, with the gap between it and an image."""
    return text.get_window_extent().height / axes.figure.dpi + 2 * TEXT_GAP
