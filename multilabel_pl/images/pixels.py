"""Pixels: bytes to numbers, colours to grey."""

import torch
from torch import Tensor

MAX_PIXEL = 255
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in a grey (ITU-R BT.601)


def unit_pixels(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Scales images to [0, 1]: the first step of every network, on the device of the images.

    Args:
        images: uint8 (B, C, H, W).
        dtype: Type of the network's weights.

    Returns:
        Pixels (B, C, H, W) of that type.

    Raises:
        TypeError: If the images are not uint8, since scaling them twice would go unnoticed.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8 in 0..{MAX_PIXEL}, got {images.dtype}")
    return images.to(dtype) / MAX_PIXEL


def luma(images: Tensor) -> Tensor:
    """Converts colour to grey without rounding.

    torchvision's `rgb_to_grayscale` truncates, which makes white 254.

    Args:
        images: float (..., C, H, W), C of 1 or 3.

    Returns:
        float (..., 1, H, W).
    """
    if images.shape[-3] == 1:
        return images
    weights = torch.tensor(LUMA, device=images.device).view(3, 1, 1)
    return (images * weights).sum(dim=-3, keepdim=True)


def are_plain(images: Tensor) -> Tensor:
    """Returns whether images (B, C, H, W) are of a single colour each, bool (B,)."""
    values = images.flatten(2)
    return (values.amin(dim=2) == values.amax(dim=2)).all(dim=1)
