"""What all figures share: text is drawn as it is, and images without ticks."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from torch import Tensor

from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.results.text import utf_8

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


def show_image(axes: Axes, image: Tensor) -> None:
    """Shows an image, uint8 (C, H, W), without ticks."""
    axes.imshow(image.permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=255)  # (C, H, W) -> (H, W, C)
    axes.set(xticks=[], yticks=[])


def image_name(images: LabelledDataset, index: int) -> str:
    """Returns the name of an image's file or, if it has none, its number."""
    return utf_8(images.paths[index].name) if images.paths else f"image {index}"
