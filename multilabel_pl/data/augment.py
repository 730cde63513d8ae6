"""Augmentation: shifts and rotations of whole batches; crops, flips and colours an image at a time."""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from multilabel_pl.errors import InputError

Transform: TypeAlias = Callable[[Tensor], Tensor]


def augmentation(size: Sequence[int], flip: bool, min_crop: float, color_jitter: float) -> Transform | None:
    """Composes torchvision's transforms, whose amounts are drawn from torch's default generator.

    Args:
        size: Height and width of the images.
        flip: Whether to mirror every other image, left to right.
        min_crop: The least share of its area that an image is cropped to, and resized again.
        color_jitter: By which share brightness, contrast and saturation vary, up and down.

    Returns:
        What is done to an image, uint8 (C, H, W); None if that is nothing.

    Raises:
        InputError: If a share is out of range.
    """
    if not 0 < min_crop <= 1:
        raise InputError(f"min_crop must be in (0, 1], got {min_crop}")
    if not 0 <= color_jitter <= 1:
        raise InputError(f"color_jitter must be in [0, 1], got {color_jitter}")
    transforms: list[Transform] = []
    if min_crop < 1:
        transforms.append(v2.RandomResizedCrop(list(size), scale=(min_crop, 1), antialias=True))
    if flip:
        transforms.append(v2.RandomHorizontalFlip())
    if color_jitter > 0:
        transforms.append(v2.ColorJitter(color_jitter, color_jitter, color_jitter))
    return v2.Compose(transforms) if transforms else None


def shift_and_rotate(images: Tensor, max_shift: float, max_rotation: float) -> Tensor:
    """Shifts and rotates every image by an amount of its own, on the device of the images.

    The amounts are drawn uniformly from torch's default generator. What comes in from outside is black.

    Args:
        images: uint8 (B, C, H, W).
        max_shift: Largest shift, up, down and sideways, in pixels.
        max_rotation: Largest rotation, either way, in degrees.

    Returns:
        uint8 (B, C, H, W).
    """
    count, _, height, width = images.shape
    amounts = torch.rand(3, count, device=images.device) * 2 - 1  # (3, B) in [-1, 1)
    angle = amounts[0] * math.radians(max_rotation)
    cos, sin = angle.cos(), angle.sin()
    # affine_grid measures in halves of the picture, so a rotation must know how much longer one half is.
    across, down = amounts[1] * 2 * max_shift / width, amounts[2] * 2 * max_shift / height
    rows = [cos, -sin * height / width, across, sin * width / height, cos, down]
    transform = torch.stack(rows, dim=1).view(count, 2, 3)  # (6, B) -> (B, 2, 3)
    grid = F.affine_grid(transform, list(images.shape), align_corners=False)  # (B, H, W, 2)
    moved = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.round().to(torch.uint8)
