"""Photographs of digits, made from MNIST's: a page, light that falls unevenly, a pen, noise, and a camera's JPEG."""

import io
import math
import struct

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


def photograph(digit: Tensor, rng: np.random.Generator, light_on_dark: bool = False) -> bytes:
    """Lays a digit on a page and photographs it.

    The page, 120 to 480 pixels high and wide, is tinted; the digit's frame is 20 to 85 % of its shorter side, anywhere
    on it. The light falls off towards one side, by up to 60 %, and away from one point.

    Args:
        digit: uint8 (1, 28, 28), of MNIST.
        rng: Decides all that varies.
        light_on_dark: Whether it is chalk on a board rather than a pen on paper.

    Returns:
        A JPEG file in colour.
    """
    height, width = (int(side) for side in rng.integers(120, 480, 2))
    light = _light(height, width, rng)
    ink = _ink(digit, height, width, rng)
    page, pen = rng.uniform(0.75, 0.95, 3), rng.uniform(0, 0.45, 3)
    if light_on_dark:
        page, pen = pen * 0.6, page
    blank, full = (torch.tensor(colour, dtype=torch.float32)[:, None, None] for colour in (page, pen))
    scene = torch.lerp(blank, full, ink) * light  # (3, H, W)
    noise = torch.from_numpy(rng.normal(0, rng.uniform(0.005, 0.04), scene.shape)).float()
    pixels = ((scene + noise).clamp(0, 1) * 255).round().to(torch.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=int(rng.integers(60, 96)))
    return file.getvalue()


def _ink(digit: Tensor, height: int, width: int, rng: np.random.Generator) -> Tensor:
    """Returns how much ink lies where, (H, W) in 0..1."""
    side = int(min(height, width) * rng.uniform(0.2, 0.85))
    frame = F.interpolate(digit[None].float() / 255, size=(side, side), mode="bilinear")[0, 0]
    top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    ink = torch.zeros(height, width)
    ink[top : top + side, left : left + side] = (frame * 1.6 - 0.2).clamp(0, 1)  # a pen's edges are sharper
    return ink * rng.uniform(0.7, 1)


def _light(height: int, width: int, rng: np.random.Generator) -> Tensor:
    """Returns how much light falls where, (H, W) in 0..1."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    direction, least = rng.uniform(0, 2 * math.pi), rng.uniform(0.4, 1)
    along = (math.cos(direction) * x + math.sin(direction) * y + math.sqrt(2)) / (2 * math.sqrt(2))  # in 0..1
    (centre_y, centre_x), falloff = rng.uniform(-1, 1, 2), rng.uniform(0, 0.06)
    light: Tensor = (least + (1 - least) * along) * (1 - falloff * ((x - centre_x) ** 2 + (y - centre_y) ** 2))
    return light


def odd_metadata(orientation: int) -> bytes:
    """Returns EXIF with a signed altitude, -12 m, as some cameras write it; the standard has it unsigned."""
    camera = struct.pack(">H HHLHH HHLL L", 2, 0x0112, 3, 1, orientation, 0, 0x8825, 4, 1, 38, 0)
    place = struct.pack(">H HHLL L ll", 1, 6, 10, 1, 56, 0, -12, 1)
    return b"Exif\0\0MM\0*" + struct.pack(">L", 8) + camera + place
