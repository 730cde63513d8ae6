"""Bringing an image of any size to the shape that a model was trained on."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from multilabel_pl.errors import InputError
from multilabel_pl.images.mnist_style import mnist_style
from multilabel_pl.images.pixels import luma
from multilabel_pl.task import Preprocessing, Task


def prepare(image: Tensor, task: Task) -> Tensor:
    """Brings an image to the shape of a task's images.

    Args:
        image: uint8 (C, H, W) of any size, C of 1 or 3.
        task: The task.

    Returns:
        uint8 of the task's shape, contiguous.

    Raises:
        InputError: If the preprocessing is `mnist` and there is no digit to be found.
    """
    channels, height, width = task.image_shape
    if len(image) > 1 and (channels == 1 or task.preprocessing == "mnist"):
        image = luma(image.float()).round().to(torch.uint8)
    return PREPROCESSINGS[task.preprocessing](image, height, width).expand(channels, -1, -1).contiguous()


def sufficient_size(task: Task) -> int | None:
    """Returns the height and width to which an image may be shrunk while it is decoded; None if not at all."""
    return 2 * max(task.image_shape[1:]) if task.preprocessing == "resize" else None


def _resize(image: Tensor, height: int, width: int) -> Tensor:
    resized: Tensor = transforms.resize(image, [height, width], antialias=True)
    return resized


def _find_digit(image: Tensor, height: int, width: int) -> Tensor:
    try:
        return torch.from_numpy(mnist_style(image[0].numpy(), height, width)).unsqueeze(0)
    except ValueError as error:
        raise InputError(str(error)) from None


PREPROCESSINGS: dict[Preprocessing, Callable[[Tensor, int, int], Tensor]] = {"resize": _resize, "mnist": _find_digit}


def height_and_width(image_size: int | list[int]) -> tuple[int, int]:
    """Reads the size to which images are resized: one number, or two.

    Raises:
        InputError: If there are other than one or two, or one is below 1.
    """
    sizes = [image_size, image_size] if isinstance(image_size, int) else image_size
    if len(sizes) != 2 or min(sizes) < 1:
        raise InputError(f"image_size must be a number, or a height and a width, in pixels, got {image_size}")
    height, width = sizes
    return height, width
