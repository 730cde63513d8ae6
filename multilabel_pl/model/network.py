"""From images to one score a label."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multilabel_pl.errors import InputError
from multilabel_pl.model.timm_network import MAX_PIXEL, TimmNetwork

ConvDataFormat = Literal["channels_first", "channels_last"]

CONV_POOL_DENSE = "conv_pool_dense"
FILTERS = 32
KERNEL_SIZE = 3
POOL_SIZE = 2
HIDDEN_UNITS = 256


def build_network(
    name: str, image_shape: tuple[int, int, int], num_labels: int, conv_data_format: ConvDataFormat, pretrained: bool
) -> nn.Module:
    """Makes a network: uint8 images (B, C, H, W) to scores (B, L).

    Args:
        name: `conv_pool_dense`, or what timm calls it.
        image_shape: Channels, height and width.
        num_labels: Number of labels, L.
        conv_data_format: Of `conv_pool_dense`.
        pretrained: Whether to begin with the weights that timm's authors offer.

    Raises:
        InputError: If there is no such network, or it can't be made for these images.
    """
    if name != CONV_POOL_DENSE:
        return TimmNetwork(name, image_shape, num_labels, pretrained)
    if pretrained:
        raise InputError(
            f"there are no pretrained weights for {name}: set --model.network, or --model.pretrained false"
        )
    return ConvPoolDense(image_shape, num_labels, conv_data_format)


class ConvPoolDense(nn.Module):
    """The tutorial's network: convolution, max-pooling, a dense layer of 256 units, and a score for each label.

    With `channels_last` it reads the axes as Keras did in the tutorial, whose convolution was left at that default
    while its array was (1, 28, 28): an image 1 pixel high and 28 wide, with 28 channels. The pooling, told
    `channels_first`, then went over positions and filters. That network, not the intended one, gave the tutorial's
    published figures.

    Args:
        image_shape: Channels, height and width.
        num_labels: Number of labels, L.
        conv_data_format: `channels_first` as intended, or `channels_last` as Keras ran it.

    Raises:
        InputError: If the images are too small to pool.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_labels: int,
        conv_data_format: ConvDataFormat = "channels_first",
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        if min(height, width) < POOL_SIZE:
            raise InputError(f"images must be at least {POOL_SIZE}x{POOL_SIZE} pixels, got {height}x{width}")
        self.conv_data_format = conv_data_format
        if conv_data_format == "channels_first":
            in_channels, features = channels, FILTERS * (height // POOL_SIZE) * (width // POOL_SIZE)
        else:
            in_channels, features = width, channels * (height // POOL_SIZE) * (FILTERS // POOL_SIZE)
        self.conv = nn.Conv2d(in_channels, FILTERS, KERNEL_SIZE, padding=KERNEL_SIZE // 2)
        self.hidden = nn.Linear(features, HIDDEN_UNITS)
        self.scores = nn.Linear(HIDDEN_UNITS, num_labels)
        self.apply(_initialise_as_keras)
        self.conv.to(memory_format=torch.channels_last)  # the faster layout on processors and tensor cores alike

    def forward(self, images: Tensor) -> Tensor:
        """Scores the labels of images.

        Args:
            images: uint8 (B, C, H, W).

        Returns:
            Scores (B, L), any real number.

        Raises:
            TypeError: If the images are not uint8, since scaling them once more would go unnoticed.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"images must be uint8 in 0..{MAX_PIXEL}, got {images.dtype}")
        pixels = images.to(self.conv.weight.dtype) / MAX_PIXEL
        if self.conv_data_format == "channels_first":
            features = self._features(pixels)
        else:
            features = self._features_as_keras(pixels)
        scores: Tensor = self.scores(self.hidden(features).relu())  # (B, F) -> (B, 256) -> (B, L)
        return scores

    # Pooling before the ReLU gives the same values, since both are monotonic, with a quarter of the work.

    def _features(self, pixels: Tensor) -> Tensor:
        maps = F.max_pool2d(self.conv(pixels), POOL_SIZE).relu()  # (B, C, H, W) -> (B, 32, H/2, W/2)
        return maps.permute(0, 2, 3, 1).flatten(1)  # (B, H/2 * W/2 * 32), a view in the channels_last layout

    def _features_as_keras(self, pixels: Tensor) -> Tensor:
        columns = pixels.permute(0, 3, 1, 2)  # (B, C, H, W) -> (B, W, C, H): Keras's channels are the columns
        maps = self.conv(columns).permute(0, 2, 3, 1)  # (B, 32, C, H) -> (B, C, H, 32)
        return F.max_pool2d(maps, POOL_SIZE).relu().flatten(1)  # (B, C * H/2 * 16)


def _initialise_as_keras(module: nn.Module) -> None:
    """Glorot uniform weights and zero biases, the defaults of Keras's Conv2D and Dense layers."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
