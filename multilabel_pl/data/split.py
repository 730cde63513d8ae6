"""The split of the training images into training and validation."""

import torch
from torch import Tensor

from multilabel_pl.errors import InputError


def split_indices(size: int, val_size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draws a validation set at random, with a generator of its own.

    Args:
        size: Number of images.
        val_size: Number of images to set aside; 0 for none.
        seed: Seed of this split alone.

    Returns:
        The indices of the training images (size - val_size,) and of the validation images (val_size,), both ascending.

    Raises:
        InputError: If `val_size` leaves no image to train on, or is negative.
    """
    if not 0 <= val_size < size:
        raise InputError(f"val_size must be in [0, {size}), got {val_size}: set --data.val_size")
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    return order[val_size:].sort().values, order[:val_size].sort().values
