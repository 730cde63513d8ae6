"""Augmentation of training images, a whole batch at a time."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from multilabel_pl.errors import InputError, check_at_least
from multilabel_pl.images.pixels import MAX_PIXEL, luma

MAX_ASPECT = 4 / 3  # of a crop's sides, as in torchvision's RandomResizedCrop


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images, each by an amount of its own.

    Called with images uint8 (B, C, H, W), it returns as many of the same shape, and works on their device. All amounts
    are drawn uniformly from the default generator of that device.

    Attributes:
        max_shift: Largest shift, up, down and sideways, in pixels.
        max_rotation: Largest rotation, either way, in degrees; what comes in from outside is black.
        flip: Whether to mirror half of the images, at random, left to right.
        min_crop: The least share of its area that an image is cropped to, and resized again.
        color_jitter: By which share brightness, contrast and saturation vary, up and down.

    Raises:
        InputError: If an amount is out of range.
    """

    max_shift: float = 0.0
    max_rotation: float = 0.0
    flip: bool = False
    min_crop: float = 1.0
    color_jitter: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(0, max_shift=self.max_shift, max_rotation=self.max_rotation)
        if not 0 < self.min_crop <= 1:
            raise InputError(f"min_crop must be in (0, 1], got {self.min_crop}")
        if not 0 <= self.color_jitter <= 1:
            raise InputError(f"color_jitter must be in [0, 1], got {self.color_jitter}")

    def __call__(self, images: Tensor) -> Tensor:
        """Varies a batch."""
        if self.flip:
            mirrored = torch.rand(len(images), device=images.device) < 0.5
            images = images.flip(-1).where(mirrored.view(-1, 1, 1, 1), images)
        varied = images
        if self._moves or self.min_crop < 1:
            varied = self._resample(varied.float())
        if self.color_jitter > 0:
            varied = self._recolor(varied.float())
        return varied if varied is images else varied.round().to(torch.uint8)

    @property
    def _moves(self) -> bool:
        return self.max_shift > 0 or self.max_rotation > 0

    def _resample(self, images: Tensor) -> Tensor:
        """Looks up every pixel where rotation, shift and crop, which are one affine map, say that it was."""
        count, _, height, width = images.shape
        angle = _between(-1, 1, count, images) * math.radians(self.max_rotation)
        cos, sin = angle.cos(), angle.sin()
        # affine_grid measures in halves of the image, so a rotation must know how much longer one half is.
        across = _between(-1, 1, count, images) * 2 * self.max_shift / width
        down = _between(-1, 1, count, images) * 2 * self.max_shift / height
        rows = [cos, -sin * height / width, across, sin * width / height, cos, down]
        placed = torch.stack(rows, dim=1).view(count, 2, 3)  # (6, B) -> (B, 2, 3)
        grid = F.affine_grid(placed @ self._crops(count, images), list(images.shape), align_corners=False)
        outside = "zeros" if self._moves else "border"  # a crop looks no further than half a pixel over the border
        return F.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)

    def _crops(self, count: int, images: Tensor) -> Tensor:
        """Draws the part of each image that is shown, as a map (B, 3, 3) of homogeneous places."""
        area = _between(self.min_crop, 1, count, images)
        limit = (-area.log()).clamp(max=math.log(MAX_ASPECT))  # neither side is longer than the image's
        aspect = (_between(-1, 1, count, images) * limit).exp()
        across, down = (area * aspect).sqrt(), (area / aspect).sqrt()  # (B,) of its sides
        maps = torch.zeros(count, 3, 3, device=images.device)
        maps[:, 0, 2] = _between(-1, 1, count, images) * (1 - across)
        maps[:, 1, 2] = _between(-1, 1, count, images) * (1 - down)
        maps[:, 0, 0], maps[:, 1, 1], maps[:, 2, 2] = across, down, 1
        return maps

    def _recolor(self, images: Tensor) -> Tensor:
        """Varies brightness, contrast and, of colours, saturation, in this order, as torchvision's ColorJitter does."""
        count, channels, *_ = images.shape
        low, high = 1 - self.color_jitter, 1 + self.color_jitter
        brightness, contrast, saturation = (_between(low, high, count, images).view(-1, 1, 1, 1) for _ in range(3))
        images = (images * brightness).clamp(0, MAX_PIXEL)
        mean = luma(images).mean(dim=(1, 2, 3), keepdim=True)
        images = torch.lerp(mean, images, contrast).clamp(0, MAX_PIXEL)
        return images if channels == 1 else torch.lerp(luma(images), images, saturation).clamp(0, MAX_PIXEL)


def _between(low: float, high: float, count: int, images: Tensor) -> Tensor:
    """Draws an amount (B,) in [low, high) for each image, on their device."""
    return torch.rand(count, device=images.device) * (high - low) + low
