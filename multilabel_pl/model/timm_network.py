"""Networks of the timm library, by name."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from multilabel_pl.errors import InputError, check_extra
from multilabel_pl.images.pixels import unit_pixels
from multilabel_pl.model.pretrained import weights_within_reach

TIMM_ERRORS = (AssertionError, OSError, RuntimeError, TypeError, ValueError)  # sizes, weights, names, downloads


class TimmNetwork(nn.Module):
    """A timm model (https://huggingface.co/docs/timm) behind its own normalisation of pixels.

    Args:
        name: The model's name in timm.
        image_shape: Channels, height and width.
        num_labels: Number of labels, L.
        pretrained: Whether to start from the weights that timm offers, which are downloaded.

    Raises:
        InputError: If timm is not installed or can't get the weights, or if the model can't take images of this size.
    """

    def __init__(self, name: str, image_shape: tuple[int, int, int], num_labels: int, pretrained: bool = False) -> None:
        super().__init__()
        timm = import_timm(f"the network {name}")
        channels, height, width = image_shape
        try:
            config = timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
            size: dict[str, Any] = {"img_size": (height, width)} if config.fixed_input_size else {}
            with weights_within_reach(name) if pretrained else nullcontext():
                model = timm.create_model(
                    name, pretrained=pretrained, num_classes=num_labels, in_chans=channels, **size
                )
            self.model = model.to(memory_format=torch.channels_last)
        except TIMM_ERRORS as error:
            shape = "x".join(map(str, image_shape))
            reason = " ".join(str(error).split())
            raise InputError(f"the network {name} can't be made for images of {shape}: {reason}") from error
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", _per_channel(config.mean, channels))
        self.register_buffer("std", _per_channel(config.std, channels))
        self._check(name, image_shape, num_labels)

    def forward(self, images: Tensor) -> Tensor:
        """Scores images uint8 (B, C, H, W): (B, L), any real number."""
        pixels = (unit_pixels(images, self.mean.dtype) - self.mean) / self.std
        scores: Tensor = self.model(pixels.contiguous(memory_format=torch.channels_last))
        return scores

    @torch.no_grad()
    def _check(self, name: str, image_shape: tuple[int, int, int], num_labels: int) -> None:
        """Scores one black image: the only way to know that a model takes images of a size, and scores labels."""
        self.eval()
        shape = "x".join(map(str, image_shape))
        try:
            scores = self(torch.zeros(1, *image_shape, dtype=torch.uint8, device=self.mean.device))
        except TIMM_ERRORS as error:
            raise InputError(f"the network {name} can't take images of {shape}: {error}; try larger ones") from error
        if scores.shape != (1, num_labels):
            raise InputError(f"the network {name} is not for classification: choose another --model.network")
        self.train()


def _per_channel(values: Sequence[float], channels: int) -> Tensor:
    """Returns a statistic of pixels, (1, C, 1, 1); its mean if it is known for another number of channels."""
    statistic = torch.tensor(values)
    if channels != len(statistic):
        statistic = statistic.mean().expand(channels)
    return statistic.view(1, -1, 1, 1)


def import_timm(purpose: str) -> Any:
    """Imports timm.

    Args:
        purpose: What needs it, for the message.

    Raises:
        InputError: If it is not installed.
    """
    check_extra("timm", purpose)
    import timm

    return timm
