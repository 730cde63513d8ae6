"""What all figures share: text is drawn as it is, and images without ticks."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from torch import Tensor

from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.results.text import utf_8


@contextmanager
def plain_text() -> Iterator[None]:
    """Draws, and writes, figures whose text is text: `$` starts no formula, and what no font has becomes a box."""
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
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
