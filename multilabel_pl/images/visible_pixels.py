"""The pixels of an image as people see it, from those that its file has.

NumPy and Pillow are all that this file needs, as `export` writes it beside a program that needs no more.
"""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

GREY_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # Pillow's modes; it reads 16-bit colours as 8-bit ones
FLOAT = "F"
TURNS = {  # by EXIF's orientation: whether rows become columns, and the steps through rows and columns after that
    1: (False, 1, 1),
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


class PixelRangeError(ValueError):
    """Which of an image's numbers are black and white is unknown."""


def visible_pixels(image: Image.Image, background: str) -> NDArray[np.uint8]:
    """Returns the pixels of an image, upright, with a colour behind transparent ones.

    Args:
        image: Of any mode.
        background: The colour, as Pillow names it.

    Returns:
        uint8 (H, W) of a grey image, (H, W, 3) of a coloured one.

    Raises:
        PixelRangeError: If its pixels are floating-point numbers: white is 1 in some files, 255 or 65,535 in others.
    """
    image.load()  # before mode and orientation are read: icons get their mode by it, and a TIFF turns itself
    if image.mode == FLOAT:
        raise PixelRangeError("floating-point pixels have no known range: save the image with 8 or 16 bits a channel")
    return _upright(_opaque(image, background), image)


def _opaque(image: Image.Image, background: str) -> NDArray[np.uint8]:
    """Returns the pixels of an image as they lie in its file, with a colour behind transparent ones."""
    if image.mode in GREY_16_BIT:
        return (np.array(image).clip(0, 2**16 - 1) >> 8).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    mode = "L" if image.mode in ("1", "L") else "RGB"
    return np.array(image if image.mode == mode else image.convert(mode))


def _upright(pixels: NDArray[np.uint8], image: Image.Image) -> NDArray[np.uint8]:
    """Turns the pixels of an image as its camera was held.

    Pillow's `exif_transpose` would also write the other metadata again, which fails where these are odd.
    """
    swapped, down, across = TURNS[1]
    with suppress(Exception):  # Pillow raises all kinds for damaged metadata, which say nothing of the image
        swapped, down, across = TURNS[image.getexif().get(ExifTags.Base.Orientation, 1)]
    turned = pixels.swapaxes(0, 1) if swapped else pixels
    return np.ascontiguousarray(turned[::down, ::across])
