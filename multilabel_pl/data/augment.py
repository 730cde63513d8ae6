"""Light augmentation, a whole batch at a time."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


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
