"""Bounds the memory that an uploaded image takes: one with too many pixels is refused, a large one is shrunk."""

import math
import warnings

from PIL import Image

from multilabel_pl.errors import InputError
from multilabel_pl.images.decoding import POSTSCRIPT
from multilabel_pl.images.inputs import ImageInput

# By format, to decode and shrink within 500 MB. Pillow holds 4 bytes a pixel: of most formats up to twice,
# of a TIFF that it turns three times. Decoders of others, such as WebP and JPEG 2000, take up to 20 bytes a pixel.
MOST_PIXELS = 50_000_000
MAX_PIXELS = {**dict.fromkeys(("PNG", "JPEG", "MPO", "BMP", "GIF"), MOST_PIXELS), "TIFF": 40_000_000}
MAX_PIXELS_OF_OTHERS = 16_000_000
AMPLE_PIXELS = 2_000_000  # an image is shrunk to between so many and four times as many
REDUCIBLE = {"1": "L", "P": "RGBA", "PA": "RGBA", "I;16": "I", "I;16L": "I", "I;16B": "I"}  # modes that can't be shrunk


def bounded(path: str) -> ImageInput:
    """Bounds the memory that it takes to predict an uploaded image, decoding included, to 500 MB.

    Args:
        path: The file.

    Returns:
        The image, shrunk while or right after it was decoded, if it is large; else, or if it can't be decoded, the
        path, since the model reports best what is wrong with a file.

    Raises:
        InputError: If the image has too many pixels, by its header.
    """
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            limit = MAX_PIXELS.get(image.format or "", MAX_PIXELS_OF_OTHERS)
            if image.format == POSTSCRIPT:
                return path
            if math.prod(image.size) <= limit:
                return _shrunk(image) if _excess(image) > 1 else path
    except Image.DecompressionBombError:
        limit = MOST_PIXELS
    except Exception:  # Pillow raises all kinds for damaged files
        return path
    raise InputError(f"{path} has more than {limit:,} pixels, which is too many for this page: shrink it")


def _shrunk(image: Image.Image) -> Image.Image:
    factor = _excess(image)
    image.draft(None, (image.width // factor, image.height // factor))  # a JPEG need not be decoded at its full size
    image.load()
    reducible = image.convert(REDUCIBLE[image.mode]) if image.mode in REDUCIBLE else image
    return reducible.reduce(_excess(image))


def _excess(image: Image.Image) -> int:
    """Returns by how much the sides of an image may be divided."""
    return max(1, math.isqrt(math.prod(image.size) // AMPLE_PIXELS))
