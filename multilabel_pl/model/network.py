"""From images to one score a label."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multilabel_pl.errors import InputError
from multilabel_pl.model.pixels import unit_pixels
from multilabel_pl.model.timm_network import CONV_POOL_DENSE, CONV_STACK, OWN_NETWORKS, TimmNetwork

ConvDataFormat = Literal["channels_first", "channels_last"]

FILTERS = 32
KERNEL_SIZE = 3
POOL_SIZE = 2
HIDDEN_UNITS = 256
STACK_FILTERS = (16, 32, 64)


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
            TypeError: If the images are not uint8.
        """
        pixels = unit_pixels(images, self.conv.weight.dtype)
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


class ConvStack(nn.Module):
    """Blocks of convolution, batch normalisation and pooling, and a score for each label where it is highest.

    The maximum over all places finds a label wherever it is in the image, so this small network needs few images to
    learn from, and takes images of any size.

    Args:
        image_shape: Channels, height and width.
        num_labels: Number of labels, L.

    Raises:
        InputError: If the images are too small to pool.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_labels: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        least = POOL_SIZE ** len(STACK_FILTERS)
        if min(height, width) < least:
            raise InputError(f"images must be at least {least}x{least} pixels, got {height}x{width}")
        pairs = zip([channels, *STACK_FILTERS], STACK_FILTERS, strict=False)
        self.blocks = nn.Sequential(*(self._block(*pair) for pair in pairs))
        self.last = nn.Conv2d(STACK_FILTERS[-1], STACK_FILTERS[-1], KERNEL_SIZE, padding=KERNEL_SIZE // 2)
        self.scores = nn.Linear(STACK_FILTERS[-1], num_labels)
        self.to(memory_format=torch.channels_last)

    @staticmethod
    def _block(in_channels: int, filters: int) -> nn.Sequential:
        conv = nn.Conv2d(in_channels, filters, KERNEL_SIZE, padding=KERNEL_SIZE // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(filters), nn.MaxPool2d(POOL_SIZE), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """Scores the labels of images.

        Args:
            images: uint8 (B, C, H, W).

        Returns:
            Scores (B, L), any real number.

        Raises:
            TypeError: If the images are not uint8.
        """
        pixels = unit_pixels(images, self.last.weight.dtype).contiguous(memory_format=torch.channels_last)
        maps = self.last(self.blocks(pixels)).relu()  # (B, C, H, W) -> (B, 64, H/8, W/8)
        scores: Tensor = self.scores(maps.amax(dim=(2, 3)))  # (B, 64) -> (B, L)
        return scores


def _initialise_as_keras(module: nn.Module) -> None:
    """Glorot uniform weights and zero biases, the defaults of Keras's Conv2D and Dense layers."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build_network(
    name: str, image_shape: tuple[int, int, int], num_labels: int, conv_data_format: ConvDataFormat, pretrained: bool
) -> nn.Module:
    """Makes a network: uint8 images (B, C, H, W) to scores (B, L).

    Args:
        name: `conv_pool_dense`, `conv_stack`, or what timm calls it.
        image_shape: Channels, height and width.
        num_labels: Number of labels, L.
        conv_data_format: Of `conv_pool_dense`.
        pretrained: Whether to begin with the weights that timm's authors offer.

    Raises:
        InputError: If there is no such network, or it can't be made for these images.
    """
    if conv_data_format != "channels_first" and name != CONV_POOL_DENSE:
        raise InputError(f"conv_data_format {conv_data_format} is for {CONV_POOL_DENSE} alone, not for {name}")
    if name not in OWN_NETWORKS:
        return TimmNetwork(name, image_shape, num_labels, pretrained)
    if pretrained:
        raise InputError(f"{name} has no pretrained weights: name another --model.network")
    if name == CONV_STACK:
        return ConvStack(image_shape, num_labels)
    return ConvPoolDense(image_shape, num_labels, conv_data_format)
