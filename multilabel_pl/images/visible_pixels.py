"""The pixels of an image as people see it, from those that its file has.

NumPy and Pillow are all that this file needs, as `export` writes it beside a program that needs no more.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GREY_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # Pillow's modes; it reads 16-bit colours as 8-bit ones


def visible_pixels(image: Image.Image, background: str) -> NDArray[np.uint8]:
    """Returns the pixels of an upright image, with a colour behind transparent ones.

    Args:
        image: Of any mode.
        background: The colour, as Pillow names it.

    Returns:
        uint8 (H, W) of a grey image, (H, W, 3) of a coloured one.
    """
    if image.mode in GREY_16_BIT:
        return (np.array(image).clip(0, 2**16 - 1) >> 8).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    mode = "L" if image.mode in ("1", "L") else "RGB"
    return np.array(image if image.mode == mode else image.convert(mode))
