"""Explanations: heat maps of what in an image speaks for a label (the extra `explain`)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multilabel_pl.errors import check_extra
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.evaluation_mode import evaluating
from multilabel_pl.model.feature_maps import FeatureMaps, find_feature_maps

BATCH = 32  # images whose activations are in memory at a time


class Explainer:
    """Maps what in images speaks for a label.

    Grad-CAM (Selvaraju et al., 2017) without its mean of the gradient over places (HiResCAM, Draelos and Carin, 2020,
    https://arxiv.org/abs/2011.08891): the network's last feature maps, times the gradient of the label's logit, are
    summed over channels. What is above 0 is enlarged to the size of the image, and divided by its maximum. With a
    network that averages over all places at its end, as most convolutional ones do, it is Grad-CAM.

    Args:
        model: The model. It is evaluated, and left as it was.

    Raises:
        InputError: If captum is not installed.
    """

    def __init__(self, model: MultiLabelClassifier) -> None:
        check_extra("explain", "an explanation")
        self.model = model
        self._features: FeatureMaps | None = None  # found with the first images

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Returns the heat maps of images.

        Args:
            images: uint8 (N, C, H, W).
            labels: The index of a label for each image, int64 (N,).

        Returns:
            float32 (N, H, W) in [0, 1], on the device of the images; all 0 where nothing speaks for the label.

        Raises:
            InputError: If the network has no feature maps.
        """
        with torch.inference_mode(False), torch.compiler.set_stance("force_eager"), _frozen(self.model):
            maps = torch.zeros(len(images), *images.shape[2:], device=images.device)
            for start in range(0, len(images), BATCH):
                rows = slice(start, start + BATCH)
                # Clones, as gradients refuse tensors that were made in inference mode.
                batch, chosen = (part[rows].clone().to(self.model.device) for part in (images, labels))
                maps[rows] = F.interpolate(self._attributed(batch, chosen), images.shape[2:], mode="bilinear")[:, 0]
        highest = maps.amax(dim=(1, 2), keepdim=True)
        return maps / highest.where(highest > 0, 1)

    def _attributed(self, images: Tensor, labels: Tensor) -> Tensor:
        """Returns what the feature maps of images add to the logits of labels, float32 (B, 1, h, w), at least 0."""
        from captum.attr import LayerGradientXActivation  # takes a second to import

        if self._features is None:
            self._features = find_feature_maps(self.model.network, images)
        products: Tensor = LayerGradientXActivation(self.model, self._features.layer).attribute(images, labels)
        return self._features.layout.maps(products).detach().float().sum(dim=1, keepdim=True).relu()


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Evaluates a model meanwhile, without gradients of its parameters, which would take memory."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with evaluating(model):
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_()
