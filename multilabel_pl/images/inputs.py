"""Images as users have them, files or arrays, turned into batches for a model."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from multilabel_pl.errors import InputError
from multilabel_pl.images.decoding import MAX_PIXELS, decode_image, find_images, pixels_of, read_image
from multilabel_pl.images.preprocessing import prepare, sufficient_size
from multilabel_pl.task import Task

ImageInput: TypeAlias = str | Path | Image.Image | Tensor | NDArray[np.uint8]

CHANNELS = (1, 3)
BATCH_SIZE = 250


def batches_of(images: ImageInput | Iterable[ImageInput], task: Task, batch_size: int = BATCH_SIZE) -> Iterator[Tensor]:
    """Brings images to the shape of a task's images, a batch at a time.

    Args:
        images: One or several: paths of image files; Pillow images; uint8 tensors (H, W) or (C, H, W) or arrays (H, W)
            or (H, W, C), with C of 1 or 3; or a tensor or an array that stacks several along a first dimension. Those
            that have the task's shape are taken as they are. Or the path of a folder of images, or a pattern.
        task: The task.
        batch_size: Images in a batch.

    Yields:
        uint8 (B, C, H, W).

    Raises:
        InputError: If a file can't be read, an array is not an image, or there is no digit to be found.
    """
    if isinstance(images, Tensor | np.ndarray) and tuple(images.shape[1:]) == task.image_shape:
        yield from torch.split(_pixels(images), batch_size)
        return
    several = _several(images)
    for start in range(0, len(several), batch_size):
        yield torch.stack([load_image(one, task) for one in several[start : start + batch_size]])


def load_image(image: ImageInput, task: Task) -> Tensor:
    """Brings a path, a Pillow image, a tensor or an array to the shape of a task's images, uint8 (C, H, W).

    Raises:
        InputError: If it is no image, can't be read, or there is no digit to be found.
    """
    if isinstance(image, str | Path):
        return load_file(Path(image), task)
    if isinstance(image, Image.Image):
        return prepare(pixels_of(image, task.background), task)
    pixels = _pixels(image)
    if tuple(pixels.shape) == task.image_shape:
        return pixels
    if isinstance(image, np.ndarray) and pixels.ndim == 3:
        pixels = pixels.permute(2, 0, 1)  # (H, W, C) -> (C, H, W)
    if pixels.ndim == 2:
        pixels = pixels.unsqueeze(0)
    if pixels.ndim != 3 or len(pixels) not in CHANNELS or pixels.numel() == 0:
        raise InputError(
            "an image must be a tensor (H, W) or (C, H, W) or an array (H, W) or (H, W, C), with C of 1 or 3, "
            f"got {tuple(image.shape)}"
        )
    return prepare(pixels, task)


def load_file(path: Path, task: Task, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Reads an image file and brings it to the shape of a task's images, uint8 (C, H, W).

    Raises:
        InputError: If the file can't be read or there is no digit to be found; it names the file.
    """
    image = read_image(path, task.background, sufficient_size(task), max_pixels)
    return _prepared(image, task, str(path))


def load_bytes(content: bytes, name: str, task: Task, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Decodes the content of an image file as `load_file` does; messages call it by the name."""
    image = decode_image(BytesIO(content), name, task.background, sufficient_size(task), max_pixels)
    return _prepared(image, task, name)


def _prepared(image: Tensor, task: Task, name: str) -> Tensor:
    try:
        return prepare(image, task)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _several(images: ImageInput | Iterable[ImageInput]) -> list[ImageInput]:
    if isinstance(images, str | Path):
        return [*find_images([images])]
    if isinstance(images, Image.Image):
        return [images]
    if isinstance(images, Tensor | np.ndarray):
        return [images] if images.ndim < 4 else list(images)
    if isinstance(images, Iterable):
        return list(images)
    raise InputError(f"images must be paths, Pillow images, tensors or arrays, got {images}")


def _pixels(image: Tensor | NDArray[np.uint8]) -> Tensor:
    pixels = image if isinstance(image, Tensor) else torch.from_numpy(image.copy())  # it may be read-only
    if pixels.dtype != torch.uint8:
        raise InputError(f"images must be torch.uint8, in 0 to 255, got {pixels.dtype}")
    return pixels
