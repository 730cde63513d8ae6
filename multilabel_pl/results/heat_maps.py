"""Heat maps over images."""

import torch
from torch import Tensor

from multilabel_pl.images.pixels import MAX_PIXEL, luma

FAINT, STRONG = (255, 210, 0), (230, 0, 0)  # colours of the least and of the most heat
OPACITY = 0.75  # of the most heat; where there is none, the image is as it was


def overlay(image: Tensor, heat: Tensor) -> Tensor:
    """Lays a heat map over an image in grey, in colours from yellow to red: the more heat, the redder and denser.

    Args:
        image: uint8 (C, H, W), C of 1 or 3.
        heat: float (H, W) in [0, 1].

    Returns:
        uint8 (3, H, W).
    """
    heat = heat.to(image.device, torch.float32)
    faint, strong = (torch.tensor(color, device=image.device).view(3, 1, 1) for color in (FAINT, STRONG))
    opacity = heat.sqrt() * OPACITY
    mixed = luma(image.float()) * (1 - opacity) + (faint + (strong - faint) * heat) * opacity
    return mixed.round().clamp(0, MAX_PIXEL).to(torch.uint8)
