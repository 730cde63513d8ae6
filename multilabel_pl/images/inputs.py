"""Pictures as users have them, files or arrays, as batches for a model."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from multilabel_pl.errors import InputError
from multilabel_pl.images.decoding import pixels_of, read_image
from multilabel_pl.images.preprocessing import ImageForm

Picture: TypeAlias = str | Path | Image.Image | Tensor | NDArray[np.uint8]

CHANNELS = (1, 3)


def batches_of(pictures: Picture | Iterable[Picture], form: ImageForm, batch_size: int) -> Iterator[Tensor]:
    """Brings pictures to the form of a model's images, a batch at a time.

    Args:
        pictures: One or several: the paths of image files; Pillow's images; tensors uint8 (H, W) or (C, H, W) or arrays
            uint8 (H, W) or (H, W, C), with C of 1 or 3; or a tensor or an array that stacks several along a first
            dimension. Those that have the shape of the model's images are taken as they are.
        form: That of the model's images.
        batch_size: Images in a batch, the last excepted.

    Yields:
        uint8 (B, C, H, W).

    Raises:
        InputError: If a file can't be read, an array is not a picture, or a picture shows nothing to predict.
    """
    if isinstance(pictures, Tensor | np.ndarray) and tuple(pictures.shape[1:]) == form.shape:
        yield from torch.split(_pixels(pictures), batch_size)
        return
    several = _several(pictures)
    for start in range(0, len(several), batch_size):
        yield torch.stack([_load(one, form) for one in several[start : start + batch_size]])


def load_file(path: Path, form: ImageForm) -> Tensor:
    """Reads an image file and brings it to the form of a model's images, uint8 (C, H, W).

    Raises:
        InputError: If the file can't be read or shows nothing to predict; it names the file.
    """
    image = read_image(path, form.background, form.least_size)
    try:
        return form.prepare(image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _several(pictures: Picture | Iterable[Picture]) -> list[Picture]:
    if isinstance(pictures, str | Path | Image.Image):
        return [pictures]
    if isinstance(pictures, Tensor | np.ndarray):
        return [pictures] if pictures.ndim < 4 else list(pictures)
    return list(pictures)


def _load(picture: Picture, form: ImageForm) -> Tensor:
    if isinstance(picture, str | Path):
        return load_file(Path(picture), form)
    if isinstance(picture, Image.Image):
        return form.prepare(pixels_of(picture, form.background))
    pixels = _pixels(picture)
    if tuple(pixels.shape) == form.shape:
        return pixels
    if isinstance(picture, np.ndarray) and pixels.ndim == 3:
        pixels = pixels.permute(2, 0, 1)  # (H, W, C) -> (C, H, W)
    if pixels.ndim == 2:
        pixels = pixels.unsqueeze(0)
    if pixels.ndim != 3 or len(pixels) not in CHANNELS or pixels.numel() == 0:
        raise InputError(
            f"a picture must be a tensor (H, W) or (C, H, W) or an array (H, W) or (H, W, C), with C of 1 or 3, "
            f"got {tuple(picture.shape)}"
        )
    return form.prepare(pixels)


def _pixels(picture: Tensor | NDArray[np.uint8]) -> Tensor:
    pixels = picture if isinstance(picture, Tensor) else torch.from_numpy(picture.copy())  # it may be read-only
    if pixels.dtype != torch.uint8:
        raise InputError(f"pictures must be torch.uint8, in 0 to 255, got {pixels.dtype}")
    return pixels
