"""The first step of every network: bytes to numbers, on the device of the images."""

import torch
from torch import Tensor

MAX_PIXEL = 255


def unit_pixels(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Scales images to [0, 1].

    Args:
        images: uint8 (B, C, H, W).
        dtype: Of the network's weights.

    Returns:
        Pixels (B, C, H, W) of that type.

    Raises:
        TypeError: If the images are not uint8, since scaling them once more would go unnoticed.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8 in 0..{MAX_PIXEL}, got {images.dtype}")
    return images.to(dtype) / MAX_PIXEL
