"""What all figures share: text is drawn as it is, and a figure once."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.results.text import utf_8

COMPRESSION = 3  # of PNG: half the time of the usual 6, for files that are 10 to 30 % larger
CAPTION = 9  # points
MODEL, BEFORE, REFERENCE, WRONG = "tab:blue", "tab:orange", "lightgrey", "tab:red"
# Where the usual font has no glyph; those that are installed are tried in turn.
FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Noto Sans",
    "Arial Unicode MS",
    "Noto Emoji",
    "Segoe UI Emoji",
)


@contextmanager
def plain_text() -> Iterator[None]:
    """Draws, and writes, figures whose text is text: `$` starts no formula, and what no font has becomes a box."""
    installed = set(font_manager.get_font_names())
    fonts = [*matplotlib.rcParams["font.family"], *(font for font in FALLBACKS if font in installed)]
    with matplotlib.rc_context({"text.parse_math": False, "font.family": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        yield


def save_figure(figure: Figure, path: Path, dpi: int) -> None:
    """Writes a figure as PNG.

    `Figure.savefig` would draw it twice if it has a layout: once without an output, for bounding boxes that only
    `bbox_inches` needs.

    Args:
        figure: The figure.
        path: Where to.
        dpi: Pixels per inch.
    """
    figure.set_dpi(dpi)
    FigureCanvasAgg(figure).print_png(path, pil_kwargs={"compress_level": COMPRESSION})  # type: ignore[no-untyped-call]


def write_within(axes: Axes, text: Text, inches: float) -> None:
    """Writes a text of an Axes in the size of a caption, or smaller if it would be wider than its place."""
    text.set_fontsize(CAPTION)
    width = text.get_window_extent().width / axes.figure.dpi
    if width > inches:
        text.set_fontsize(CAPTION * inches / width)


def show_image(axes: Axes, image: Tensor, extent: tuple[float, float, float, float] | None = None) -> None:
    """Shows an image.

    Args:
        axes: Where.
        image: uint8 (C, H, W), C of 1 or 3.
        extent: Left, right, bottom and top of its place in the Axes, if it does not fill them.
    """
    array = image.permute(1, 2, 0).numpy()  # (H, W, C)
    axes.imshow(array, cmap="gray", vmin=0, vmax=255, extent=extent, aspect="equal" if extent is None else "auto")


def image_name(images: LabelledDataset, index: int) -> str:
    """Returns the name of an image's file or, if it has none, its number."""
    return utf_8(images.paths[index].name) if images.paths else f"image {index}"
