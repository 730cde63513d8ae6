"""Heat maps over images."""

from collections.abc import Callable

import torch
from torch import Tensor

from multilabel_pl.images.pixels import MAX_PIXEL, luma

Explain = Callable[[Tensor, Tensor], Tensor]  # images (B, C, H, W), labels (B,) -> heat maps (B, H, W)

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


def draw_heat_maps(explain: Explain, images: Tensor, labels: Tensor) -> Tensor:
    """Lays over each image a map of what in it speaks for a label.

    Args:
        explain: What makes heat maps (B, H, W) of images and labels, such as an `Explainer`.
        images: uint8 (B, C, H, W), C of 1 or 3.
        labels: The index of a label for each image, int64 (B,).

    Returns:
        uint8 (B, 3, H, W).

    Raises:
        InputError: As from an `Explainer`.
    """
    return torch.stack([overlay(*pair) for pair in zip(images, explain(images, labels), strict=True)])
