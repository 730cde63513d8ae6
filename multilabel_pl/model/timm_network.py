"""Networks of the timm library, by their names."""

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from multilabel_pl.errors import InputError
from multilabel_pl.extras import check_extra
from multilabel_pl.model.pixels import unit_pixels

CONV_POOL_DENSE, CONV_STACK = OWN_NETWORKS = "conv_pool_dense", "conv_stack"  # of this package
TIMMS_ERRORS = (AssertionError, OSError, RuntimeError, TypeError, ValueError)  # sizes, weights, names, downloads


class TimmNetwork(nn.Module):
    """A network of timm (https://huggingface.co/docs/timm), which scores the labels of images.

    The normalisation with the network's own mean and standard deviation is part of it.

    Args:
        name: What timm calls it.
        image_shape: Channels, height and width.
        num_labels: Number of labels, L.
        pretrained: Whether to begin with the weights that timm's authors offer, which are downloaded.

    Raises:
        InputError: If timm is not installed, has no such network, or can't get its weights; or if the network can't
            take images of this size.
    """

    def __init__(self, name: str, image_shape: tuple[int, int, int], num_labels: int, pretrained: bool = False) -> None:
        super().__init__()
        timm = _import_timm(name)
        channels, height, width = image_shape
        try:
            config = timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
            size: dict[str, Any] = {"img_size": (height, width)} if config.fixed_input_size else {}
            self.model = timm.create_model(
                name, pretrained=pretrained, num_classes=num_labels, in_chans=channels, **size
            ).to(memory_format=torch.channels_last)
        except TIMMS_ERRORS as error:
            shape = "x".join(map(str, image_shape))
            reason = " ".join(str(error).split())
            raise InputError(f"the network {name} can't be made for images of {shape}: {reason}") from error
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", _per_channel(config.mean, channels))
        self.register_buffer("std", _per_channel(config.std, channels))
        self._check(name, image_shape, num_labels)

    def forward(self, images: Tensor) -> Tensor:
        """Scores the labels of images.

        Args:
            images: uint8 (B, C, H, W).

        Returns:
            Scores (B, L), any real number.

        Raises:
            TypeError: If the images are not uint8.
        """
        pixels = (unit_pixels(images, self.mean.dtype) - self.mean) / self.std
        scores: Tensor = self.model(pixels.contiguous(memory_format=torch.channels_last))
        return scores

    @torch.no_grad()
    def _check(self, name: str, image_shape: tuple[int, int, int], num_labels: int) -> None:
        """Scores one black image, as only that tells whether a network takes images of a size, and scores labels."""
        self.eval()
        shape = "x".join(map(str, image_shape))
        try:
            scores = self(torch.zeros(1, *image_shape, dtype=torch.uint8, device=self.mean.device))
        except TIMMS_ERRORS as error:
            raise InputError(f"the network {name} can't take images of {shape}: {error}; try larger ones") from error
        if scores.shape != (1, num_labels):
            raise InputError(f"the network {name} is not one for classification: name another --model.network")
        self.train()


def _per_channel(values: Sequence[float], channels: int) -> Tensor:
    """Returns a statistic of pixels, (1, C, 1, 1); its mean, where it isn't known of so many channels."""
    statistic = torch.tensor(values)
    if channels != len(statistic):
        statistic = statistic.mean().expand(channels)
    return statistic.view(1, -1, 1, 1)


def _import_timm(name: str) -> Any:
    """Imports timm, if it is there and has such a network.

    Raises:
        InputError: If not.
    """
    check_extra("timm", f"the network {name}")
    import timm

    if timm.is_model(name):
        return timm
    near = difflib.get_close_matches(name, [*OWN_NETWORKS, *timm.list_models()], n=3)
    hint = f": did you mean {' or '.join(near)}?" if near else ""
    raise InputError(f"network must be {', '.join(OWN_NETWORKS)} or one that timm has, got {name}{hint}")
