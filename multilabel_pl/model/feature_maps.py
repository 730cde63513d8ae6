"""Finds the feature maps of a network: the last output in which places of the image are apart."""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from multilabel_pl.errors import InputError

MIN_PLACES = 4  # in both directions: with 2 x 2, heat is not where the label is
MAX_PREFIX = 16  # tokens before those of places, such as the class token and registers
TOLERANCE = 0.01  # of scores, as a share of how far those of two images differ

Outputs = list[tuple[nn.Module, Tensor]]


@dataclass(frozen=True)
class Layout:
    """How feature maps lie in an output.

    Attributes:
        grid: Height and width of the maps.
        channels_first: Whether the output is (B, C, h, w); else it is (B, h, w, C), or tokens (B, prefix + h * w, C).
        prefix: Tokens before those of places.
    """

    grid: tuple[int, int]
    channels_first: bool = False
    prefix: int = 0

    def maps(self, output: Tensor) -> Tensor:
        """Returns the feature maps (B, C, h, w) in an output."""
        if self.channels_first:
            return output
        places = output.flatten(1, -2)[:, self.prefix :]  # (B, h * w, C)
        return places.reshape(len(places), *self.grid, -1).movedim(-1, 1)


@dataclass(frozen=True)
class FeatureMaps:
    """Feature maps of a network.

    Attributes:
        layer: The module whose output they are.
        layout: How they lie in it.
    """

    layer: nn.Module
    layout: Layout


def find_feature_maps(network: nn.Module, images: Tensor) -> FeatureMaps:
    """Finds the last feature maps of at least 4 x 4 places that all scores depend on, in any network.

    Two images are scored. In question are outputs in the shape of a grid like the images', with a gradient at its
    places: of a transformer's last tokens there is none if its class token alone is scored. Taken is the last that
    holds all that the network knows of an image: if the two images exchange it, they exchange their scores.

    Args:
        network: uint8 (B, C, H, W) to scores (B, L), in evaluation mode.
        images: uint8 (N, C, H, W) on its device, N at least 1. Only the first is used, beside one of noise.

    Raises:
        InputError: If there are none.
    """
    noise = torch.randint(256, images.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pair = torch.stack([images[0], noise.to(images.device)])
    scores, outputs = _trace(network, pair)
    for found in reversed(list(_with_gradient(scores, outputs, pair.shape[2:]))):
        if _holds_everything(found.layer, network, pair, scores):
            return found
    raise InputError(
        "no layer of the network keeps the places of an image apart, which a heat map needs: explain a model with "
        "another one, such as --model.network conv_stack, or with larger images"
    )


def _trace(network: nn.Module, images: Tensor) -> tuple[Tensor, Outputs]:
    """Returns the scores of images and, in their order, the outputs of all modules that are called once."""
    outputs: Outputs = []

    def record(module: nn.Module, args: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.is_floating_point() or len(output) != len(images):
            return output
        outputs.append((module, output if output.requires_grad else output.requires_grad_()))
        return output.clone()  # which may be changed in place

    with torch.enable_grad(), ExitStack() as hooks:
        for module in network.modules():
            hooks.enter_context(module.register_forward_hook(record))
        scores: Tensor = network(images)
    calls = Counter(module for module, _ in outputs)
    return scores, [(module, output) for module, output in outputs if calls[module] == 1]


def _with_gradient(scores: Tensor, outputs: Outputs, size: torch.Size) -> Iterator[FeatureMaps]:
    """Yields the outputs that are feature maps of images of a size, and have a gradient at their places."""
    laid_out = [(module, output, layout) for module, output in outputs if (layout := _layout(output, size)) is not None]
    if not laid_out:
        return
    gradients = torch.autograd.grad(scores.sum(), [output for _, output, _ in laid_out], allow_unused=True)
    for (module, _, layout), gradient in zip(laid_out, gradients, strict=True):
        if gradient is not None and layout.maps(gradient).any():
            yield FeatureMaps(module, layout)


@torch.no_grad()
def _holds_everything(layer: nn.Module, network: nn.Module, pair: Tensor, scores: Tensor) -> bool:
    """Whether two images exchange their scores (2, L) if they exchange the output of a layer."""
    with layer.register_forward_hook(lambda module, args, output: output.flip(0)):
        exchanged: Tensor = network(pair)
    difference = (scores[0] - scores[1]).abs().max()
    return bool((exchanged - scores.flip(0)).abs().max() <= TOLERANCE * difference)


def _layout(output: Tensor, size: torch.Size) -> Layout | None:
    """Returns how feature maps of images of a size lie in an output, None if they don't."""
    height, width = size
    if output.ndim == 4:
        _, first, second, third = output.shape
        if _is_grid(second, third, height, width):
            return Layout((second, third), channels_first=True)
        return Layout((first, second)) if _is_grid(first, second, height, width) else None
    if output.ndim == 3:
        grids = [(height // patch, width // patch) for patch in range(1, min(height, width) // MIN_PLACES + 1)]
        fitting = [grid for grid in grids if 0 <= output.shape[1] - math.prod(grid) <= MAX_PREFIX]
        return Layout(fitting[0], prefix=output.shape[1] - math.prod(fitting[0])) if fitting else None
    return None


def _is_grid(rows: int, columns: int, height: int, width: int) -> bool:
    """Whether maps have places, as many in both directions for the size of the image, give or take one."""
    near = (rows - 1) * width < (columns + 1) * height and (columns - 1) * height < (rows + 1) * width
    return near and min(rows, columns) >= MIN_PLACES
