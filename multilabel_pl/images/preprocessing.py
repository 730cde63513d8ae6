"""Bringing a picture of any size to the form that a model was trained on."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from multilabel_pl.images.mnist_form import mnist_form

Preprocessing = Literal["resize", "mnist"]

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue


def preprocess(image: Tensor, image_shape: Sequence[int], preprocessing: Preprocessing) -> Tensor:
    """Brings a picture to the form of a model's images.

    Args:
        image: uint8 (C, H, W) of any size, C of 1 or 3.
        image_shape: Channels (1 or 3), height and width of the model's images.
        preprocessing: `resize`: the whole picture, stretched or shrunk; `mnist`: the digit in it, see `mnist_form`.

    Returns:
        uint8, contiguous, in the shape of the model's images.

    Raises:
        InputError: If there is no digit to be found.
    """
    channels, height, width = image_shape
    if channels == 1 or preprocessing == "mnist":
        image = _grey(image)
    return PREPROCESSINGS[preprocessing](image, height, width).expand(channels, -1, -1).contiguous()


def _grey(image: Tensor) -> Tensor:
    """Returns the luma (ITU-R BT.601) of colours, rounded; torchvision's is cut off, which makes white 254."""
    if len(image) == 1:
        return image
    luma: Tensor = torch.tensordot(torch.tensor([LUMA]), image.float(), dims=1)  # (1, 3) x (3, H, W) -> (1, H, W)
    return luma.round().to(torch.uint8)


def _resize(image: Tensor, height: int, width: int) -> Tensor:
    resized: Tensor = transforms.resize(image, [height, width], antialias=True)
    return resized


PREPROCESSINGS: dict[Preprocessing, Callable[[Tensor, int, int], Tensor]] = {"resize": _resize, "mnist": mnist_form}
