"""Networks: from images to one score for each label."""

import difflib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multilabel_pl.errors import InputError
from multilabel_pl.images.pixels import unit_pixels
from multilabel_pl.model.timm_network import TimmNetwork, import_timm

FILTERS = 32
KERNEL_SIZE = 3
POOL_SIZE = 2
HIDDEN_UNITS = 256
STACK_FILTERS = (16, 32, 64)


class ConvPoolDense(nn.Module):
    """The tutorial's network: convolution, max-pooling, a dense layer of 256 units, and a score for each label.

    Args:
        image_shape: Channels, height and width.
        num_labels: Number of labels, L.

    Raises:
        InputError: If the images are too small to pool.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_labels: int) -> None:
        super().__init__()
        _check_size(image_shape, POOL_SIZE)
        in_channels, features = self._sizes(*image_shape)
        self.conv = nn.Conv2d(in_channels, FILTERS, KERNEL_SIZE, padding=KERNEL_SIZE // 2)
        self.hidden = nn.Linear(features, HIDDEN_UNITS)
        self.scores = nn.Linear(HIDDEN_UNITS, num_labels)
        self.apply(_initialise_as_keras)
        self.conv.to(memory_format=torch.channels_last)  # the faster layout on CPUs and tensor cores alike

    def forward(self, images: Tensor) -> Tensor:
        """Scores images uint8 (B, C, H, W): (B, L), any real number."""
        features = self._features(unit_pixels(images, self.conv.weight.dtype))
        scores: Tensor = self.scores(self.hidden(features).relu())  # (B, F) -> (B, 256) -> (B, L)
        return scores

    @staticmethod
    def _sizes(channels: int, height: int, width: int) -> tuple[int, int]:
        """Returns the input channels of the convolution, and the number of features after pooling."""
        return channels, FILTERS * (height // POOL_SIZE) * (width // POOL_SIZE)

    def _features(self, pixels: Tensor) -> Tensor:
        # Pooling before the ReLU gives the same values, since both are monotonic, with a quarter of the work.
        maps = F.max_pool2d(self.conv(pixels), POOL_SIZE).relu()  # (B, C, H, W) -> (B, 32, H/2, W/2)
        return maps.permute(0, 2, 3, 1).flatten(1)  # (B, H/2 * W/2 * 32), a view in the channels_last layout


class ConvPoolDenseKeras(ConvPoolDense):
    """The tutorial's network as Keras ran it.

    Its convolution was left at the default `channels_last` while the array was (1, 28, 28): it read an image 1 pixel
    high and 28 wide, with 28 channels. The pooling, set to `channels_first`, then went over positions and filters. This
    network, not the intended one, gave the tutorial's published figures.
    """

    @staticmethod
    def _sizes(channels: int, height: int, width: int) -> tuple[int, int]:
        return width, channels * (height // POOL_SIZE) * (FILTERS // POOL_SIZE)

    def _features(self, pixels: Tensor) -> Tensor:
        columns = pixels.permute(0, 3, 1, 2)  # (B, C, H, W) -> (B, W, C, H): Keras's channels are the columns
        maps = self.conv(columns).permute(0, 2, 3, 1)  # (B, 32, C, H) -> (B, C, H, 32)
        return F.max_pool2d(maps, POOL_SIZE).relu().flatten(1)  # (B, C * H/2 * 16)


class ConvStack(nn.Module):
    """Blocks of convolution, batch normalisation and pooling, then a maximum over all places.

    The maximum finds a label wherever it is in the image, so this small network learns from few images, and takes
    images of any size.

    Args:
        image_shape: Channels, height and width.
        num_labels: Number of labels, L.

    Raises:
        InputError: If the images are too small to pool.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_labels: int) -> None:
        super().__init__()
        channels, *_ = image_shape
        _check_size(image_shape, POOL_SIZE ** len(STACK_FILTERS))
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
        """Scores images uint8 (B, C, H, W): (B, L), any real number."""
        pixels = unit_pixels(images, self.last.weight.dtype).contiguous(memory_format=torch.channels_last)
        maps = self.last(self.blocks(pixels)).relu()  # (B, C, H, W) -> (B, 64, H/8, W/8)
        scores: Tensor = self.scores(maps.amax(dim=(2, 3)))  # (B, 64) -> (B, L)
        return scores


def _check_size(image_shape: tuple[int, int, int], least: int) -> None:
    _, height, width = image_shape
    if min(height, width) < least:
        raise InputError(f"images must be at least {least}x{least} pixels, got {height}x{width}")


def _initialise_as_keras(module: nn.Module) -> None:
    """Sets Glorot uniform weights and zero biases, the defaults of Keras's Conv2D and Dense layers."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


NETWORKS: dict[str, type[ConvPoolDense] | type[ConvStack]] = {
    "conv_pool_dense": ConvPoolDense,
    "conv_pool_dense_keras": ConvPoolDenseKeras,
    "conv_stack": ConvStack,
}


def build_network(name: str, image_shape: tuple[int, int, int], num_labels: int, pretrained: bool) -> nn.Module:
    """Builds a network: uint8 images (B, C, H, W) to scores (B, L).

    Args:
        name: A key of `NETWORKS`, or the name of a timm model.
        image_shape: Channels, height and width.
        num_labels: Number of labels, L.
        pretrained: Whether to start from the weights that timm offers.

    Raises:
        InputError: If there is no such network, or it can't be built for these images.
    """
    if name in NETWORKS:
        if pretrained:
            raise InputError(f"{name} has no pretrained weights: choose another --model.network")
        return NETWORKS[name](image_shape, num_labels)
    timm = import_timm(f"the network {name}")
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, [*NETWORKS, *timm.list_models()], n=3)
        hint = f": did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"network must be {', '.join(NETWORKS)} or the name of a timm model, got {name}{hint}")
    return TimmNetwork(name, image_shape, num_labels, pretrained)
