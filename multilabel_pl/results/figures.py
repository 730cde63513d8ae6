"""What all figures share: names are drawn as they are, and cut where they don't fit."""

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from torch import Tensor

from multilabel_pl.data.datasets import LabelledDataset

ELLIPSIS = "…"


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


def utf_8(name: str) -> str:
    """Escapes what is not UTF-8 in the name of a file, as the tables do."""
    return name.encode(errors="backslashreplace").decode()


def shortened(name: str, length: int) -> str:
    """Cuts a name in its middle if it is longer."""
    if len(name) <= length:
        return name
    end = (length - 1) // 3
    return f"{name[: length - 1 - end].rstrip()}{ELLIPSIS}{name[len(name) - end :].lstrip()}"


def listed(names: Sequence[str], width: int, lines: int) -> str:
    """Joins names by commas, on so many lines of a width at most; those that don't fit are counted."""
    short = [shortened(name, width) for name in names]
    for count in range(min(len(short), width * lines), 0, -1):
        more = f" +{len(short) - count} more" if count < len(short) else ""
        wrapped = textwrap.wrap(", ".join(short[:count]) + more, width)
        if len(wrapped) <= lines:
            return "\n".join(wrapped)
    return f"{len(names)} tags" if names else "nothing"
