"""Bringing a picture of any size to the form that a model was trained on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import ImageColor
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from multilabel_pl.errors import InputError, check_choice
from multilabel_pl.images.decoding import WHITE
from multilabel_pl.images.mnist_style import mnist_form

Preprocessing = Literal["resize", "mnist"]

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue


@dataclass(frozen=True)
class ImageForm:
    """The form of a model's images, and how other pictures are brought to it.

    Attributes:
        shape: Channels (1 or 3), height and width of the model's images.
        preprocessing: `resize`: the whole picture, stretched or shrunk; `mnist`: the digit in it, see `mnist_form`.
        background: The colour that is laid behind transparent pixels, by a name or as `#rrggbb`.

    Raises:
        InputError: If the preprocessing or the colour is unknown.
    """

    shape: tuple[int, int, int]
    preprocessing: Preprocessing = "resize"
    background: str = WHITE

    def __post_init__(self) -> None:
        check_choice("preprocessing", self.preprocessing, PREPROCESSINGS)
        check_background(self.background)

    @property
    def least_size(self) -> int | None:
        """To what height and width a picture may be shrunk while it is read, as nothing would be seen of more."""
        return 2 * max(self.shape[1:]) if self.preprocessing == "resize" else None

    def prepare(self, image: Tensor) -> Tensor:
        """Brings a picture, uint8 (C, H, W) of any size with C of 1 or 3, to this form.

        Returns:
            uint8 of this shape, contiguous.

        Raises:
            InputError: If there is no digit to be found.
        """
        channels, height, width = self.shape
        if channels == 1 or self.preprocessing == "mnist":
            image = _grey(image)
        return PREPROCESSINGS[self.preprocessing](image, height, width).expand(channels, -1, -1).contiguous()


def check_background(color: str) -> None:
    """Refuses what is no colour.

    Raises:
        InputError: If it is none.
    """
    try:
        ImageColor.getrgb(color)
    except ValueError:
        raise InputError(f"background must be a colour such as white or #ffffff, got {color}") from None


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
