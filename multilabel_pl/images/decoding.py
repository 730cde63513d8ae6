"""Image files: finding and decoding them."""

import glob
import os
import stat
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from multilabel_pl.errors import InputError
from multilabel_pl.images.visible_pixels import PixelRangeError, visible_pixels
from multilabel_pl.messages import note
from multilabel_pl.task import WHITE

NAME_IMAGES = "name an image, a folder of images, or a pattern such as '*.png'"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
WILDCARDS = "*?["
MAX_PIXELS = 100_000_000  # of an image that is decoded; Pillow refuses those of 178,956,971 and more
NO_IMAGE = "{} is not an image, or is damaged"
POSTSCRIPT = "EPS"  # Pillow's name for a format that is a program, which it would have Ghostscript run


def find_images(paths: Sequence[str | Path], keep_missing: bool = False) -> list[Path]:
    """Finds image files.

    Args:
        paths: Files; folders, whose files with the suffix of an image are taken, without subfolders; and patterns such
            as `scans/**/*.png`.
        keep_missing: Whether a file that does not exist is returned like others, to be reported when it is read.

    Returns:
        The files, those of each folder or pattern sorted by name.

    Raises:
        InputError: If there is no image at a path.
    """
    return [found for path in paths for found in _find(Path(path), keep_missing)]


def _find(path: Path, keep_missing: bool) -> list[Path]:
    is_pattern = any(sign in str(path) for sign in WILDCARDS) and "\0" not in str(path)
    if _is_file(path) or (keep_missing and not _is_dir(path) and not is_pattern):
        return [path]
    if _is_dir(path):
        files = list(path.iterdir())
        found = [file for file in files if is_image_name(file) and _is_file(file)]
        remedy = f"a pattern such as '{path}/**/*.png' looks into subfolders"
        if found and any(_is_dir(file) and not file.name.startswith(".") for file in files):
            note(f"the folders in {path} are left out: {remedy}")
    else:
        matches = glob.glob(str(path), recursive=True) if is_pattern else []  # noqa: PTH207, for absolute ones
        found = [file for match in matches if _is_file(file := Path(match))]
        remedy = NAME_IMAGES
    if not found:
        raise InputError(f"there is no image at {path}: {remedy}")
    return sorted(found)


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113, as that of Path raises for long names, and in folders that are closed


def _is_dir(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112, as above


def is_image_name(file: Path) -> bool:
    """Whether a file is taken for an image by its name; those that begin with a dot are other systems' notes."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def read_image(
    path: Path, background: str = WHITE, sufficient_size: int | None = None, max_pixels: int = MAX_PIXELS
) -> Tensor:
    """Reads an image file; see `decode_image`.

    Raises:
        InputError: If the file can't be read, is not an image, is damaged, or has too many pixels.
    """
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)  # from a pipe or a device, reading might never end
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if not is_file:
        raise InputError(NO_IMAGE.format(path))
    return decode_image(path, str(path), background, sufficient_size, max_pixels)


def decode_image(
    file: Path | BinaryIO,
    name: str,
    background: str = WHITE,
    sufficient_size: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """Decodes an image as people see it: upright, with a colour behind transparent pixels.

    Any format and mode that Pillow decodes itself is accepted: grey, colour, palette, transparent, CMYK, 16-bit. An
    animation yields its first frame.

    Args:
        file: The file's path, or its content.
        name: What messages call it.
        background: The colour behind transparent pixels, as Pillow names it.
        sufficient_size: Height and width in pixels that suffice. A larger JPEG may be decoded at a half, a quarter or
            an eighth of its size, in a fraction of the time.
        max_pixels: An image that has more is not decoded.

    Returns:
        uint8 (C, H, W), C of 1 for a grey image, else 3.

    Raises:
        InputError: If it is not an image, is damaged, has too many pixels, or such as are floating-point numbers.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file) as image:  # of Pillow's warnings, none helps
            if image.format == POSTSCRIPT:
                raise UnidentifiedImageError
            if image.width * image.height > max_pixels:
                raise Image.DecompressionBombError
            if sufficient_size is not None:
                image.draft(None, (sufficient_size, sufficient_size))
            return _channels_first(visible_pixels(image, background))
    except PixelRangeError as error:
        raise InputError(f"{name}: {error}") from None
    except UnidentifiedImageError:
        raise InputError(NO_IMAGE.format(name)) from None
    except Image.DecompressionBombError:
        raise InputError(f"{name} has more than {max_pixels:,} pixels: shrink it, or raise max_pixels") from None
    except OSError as error:
        raise InputError(f"{name} can't be read: {error.strerror or error}") from None
    except (
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:  # all that Pillow raises for damaged files
        raise InputError(f"{name} is damaged: {error}".removesuffix(": ")) from None


def pixels_of(image: Image.Image, background: str) -> Tensor:
    """Returns the pixels of a Pillow image as `read_image` does, uint8 (C, H, W).

    Raises:
        InputError: If they are floating-point numbers.
    """
    try:
        return _channels_first(visible_pixels(image, background))
    except PixelRangeError as error:
        raise InputError(str(error)) from None


def _channels_first(pixels: NDArray[np.uint8]) -> Tensor:
    """Turns pixels (H, W) or (H, W, C) into a tensor (C, H, W)."""
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)
