"""The LightningModule: a network and a head, with its labels and thresholds."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import Adam, Optimizer

from multilabel_pl.errors import InputError
from multilabel_pl.model.head import HEADS, HeadName
from multilabel_pl.model.metrics import EpochOutputs, multilabel_metrics
from multilabel_pl.model.network import ConvDataFormat, ConvPoolDense

KERAS_ADAM_EPSILON = 1e-7
PREDICT_BATCH_SIZE = 500


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image.

    Attributes:
        tags: The names of the labels whose probability reaches their threshold, in the order of the labels.
        probabilities: The probability of every label, by name.
    """

    tags: list[str]
    probabilities: dict[str, float]


class PredictedBatch(NamedTuple):
    """What `predict_step` returns: probabilities float32 (B, L), tags bool (B, L) and targets (B, L)."""

    probabilities: Tensor
    tags: Tensor
    targets: Tensor


class MultiLabelClassifier(LightningModule):
    """Tags images with any number of labels.

    Args:
        head: `sigmoid` gives every label a probability of its own; `softmax`, the tutorial's wrong method, makes the
            labels share one unit of probability.
        conv_data_format: `channels_first` reads an image as what it is; `channels_last` repeats what Keras made of the
            tutorial's array, a convolution over the rows with the columns as channels.
        lr: Learning rate of Adam.
        threshold: The probability from which a label is a tag: one number for all labels, or a list with one for each.
        labels: Names of the labels; taken from the data if not given.
        image_shape: Channels, height and width of the images; taken from the data if not given.

    Raises:
        InputError: If a value is out of range, or (in `setup`) if the data's labels or image shape are not the model's.
    """

    def __init__(
        self,
        head: HeadName = "sigmoid",
        conv_data_format: ConvDataFormat = "channels_first",
        lr: float = 1e-3,
        threshold: float | list[float] = 0.5,
        labels: list[str] | None = None,
        image_shape: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        for name, value, choices in (("head", head, HeadName), ("conv_data_format", conv_data_format, ConvDataFormat)):
            if value not in get_args(choices):
                raise InputError(f"{name} must be one of {', '.join(get_args(choices))}, got {value}")
        if not 0 < lr < math.inf:
            raise InputError(f"lr must be a positive number, got {lr}")
        self.save_hyperparameters()
        self.head = HEADS[head]
        self.conv_data_format: ConvDataFormat = conv_data_format
        self.lr = lr
        self.threshold = _checked_thresholds(threshold)
        self.labels = labels
        self.image_shape = image_shape
        self.outputs = EpochOutputs()
        if labels is not None and image_shape is not None:
            self.adopt(labels, image_shape)

    def setup(self, stage: str) -> None:
        """Takes labels and image shape from the trainer's data module, if there is one."""
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self.adopt(data.labels, data.image_shape)
        elif not self._is_built:
            raise InputError("a model needs labels and image_shape, or a data module to take them from")

    def adopt(self, labels: list[str], image_shape: tuple[int, int, int]) -> None:
        """Builds the network for these labels and images; a model that was made for other ones refuses them.

        Args:
            labels: Names of the labels.
            image_shape: Channels, height and width.

        Raises:
            InputError: If the model has other labels or another shape, or can't be built for these.
        """
        channels, height, width = image_shape  # a tuple, or what YAML makes of one
        labels, image_shape = list(labels), (channels, height, width)
        if self.labels not in (None, labels):
            raise InputError(f"the model's labels are {_listed(self.labels)}, but the data's are {_listed(labels)}")
        if self.image_shape is not None and tuple(self.image_shape) != image_shape:
            raise InputError(
                f"the model's images are {_size(self.image_shape)}, but the data's are {_size(image_shape)}"
            )
        if not self._is_built:
            self._build(labels, image_shape)

    @property
    def _is_built(self) -> bool:
        return hasattr(self, "network")

    def _build(self, labels: list[str], image_shape: tuple[int, int, int]) -> None:
        """Makes the network and the thresholds, and records what they are for."""
        if repeated := [label for label, count in Counter(labels).items() if count > 1]:
            raise InputError(f"labels must differ, got {repeated[0]} twice")
        if isinstance(self.threshold, list) and len(self.threshold) != len(labels):
            raise InputError(f"threshold must be a number or {len(labels)} of them, got {len(self.threshold)}")
        if self.hparams["head"] == "softmax" and len(labels) < 2:
            raise InputError(f"the softmax head needs at least 2 labels, got {len(labels)}: use --model.head sigmoid")
        self.labels, self.image_shape = labels, image_shape
        self.hparams.update(labels=labels, image_shape=image_shape)
        self.network = ConvPoolDense(image_shape, len(labels), self.conv_data_format)
        self.thresholds: Tensor
        thresholds = torch.tensor(self.threshold, dtype=torch.float32).expand(len(labels))
        self.register_buffer("thresholds", thresholds.clone())

    def forward(self, images: Tensor) -> Tensor:
        """Returns the labels' logits.

        Args:
            images: uint8 (B, C, H, W).

        Returns:
            Logits, float32 (B, L); their sigmoid is the labels' probabilities.
        """
        return self.head(self.network(images).float())  # float32 even where the network runs in a lower precision

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Returns the loss of a batch of images (B, C, H, W) and targets (B, L)."""
        images, targets = batch
        loss = F.binary_cross_entropy_with_logits(self(images), targets)
        # Lightning writes every so many steps; logging the others would cost a tenth of a small network's step.
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined] # set, but undeclared
        if every and (self.global_step + 1) % every == 0:
            self.log("train_loss", loss, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forgets an earlier evaluation, even one that was interrupted."""
        self.outputs.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Collects the logits of a batch."""
        images, targets = batch
        self.outputs.update(self(images), targets)

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics of all validation images."""
        self._log_metrics("val")

    def on_test_epoch_start(self) -> None:
        """Forgets an earlier evaluation, even one that was interrupted."""
        self.outputs.reset()

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Collects the logits of a batch."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Logs the metrics of all test images."""
        self._log_metrics("test")

    def _log_metrics(self, stage: str) -> None:
        logits, targets = self.outputs.compute()
        probabilities = logits.sigmoid()
        metrics = multilabel_metrics(probabilities, probabilities >= self.thresholds, targets)
        self.log(f"{stage}_loss", F.binary_cross_entropy_with_logits(logits, targets), prog_bar=True)
        self.log_dict({f"{stage}_{name}": value for name, value in metrics.items()})

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> PredictedBatch:
        """Predicts a batch of images (B, C, H, W); the targets (B, L) are passed on for comparison."""
        images, targets = batch
        probabilities = self(images).sigmoid()
        return PredictedBatch(probabilities, probabilities >= self.thresholds, targets)

    @torch.inference_mode()
    def predict_images(self, images: Tensor) -> list[Prediction]:
        """Tags images.

        Args:
            images: uint8, one image (C, H, W) or several (N, C, H, W), in the shape that the model was trained on.

        Returns:
            One prediction for each image.

        Raises:
            InputError: If the images are not uint8, or of another shape than the model's.
        """
        if self.labels is None:
            raise InputError("the model has no labels yet: fit it, or load it from a checkpoint")
        if images.dtype != torch.uint8 or images.shape[-3:] != self.image_shape or images.ndim not in (3, 4):
            raise InputError(
                f"images must be uint8 (N, {', '.join(map(str, self.image_shape or ()))}), "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        batches = torch.split(images.reshape(-1, *images.shape[-3:]), PREDICT_BATCH_SIZE)
        probabilities = torch.cat([self(batch.to(self.device)).sigmoid() for batch in batches])  # (N, L)
        tags = probabilities >= self.thresholds
        return [
            Prediction(
                [label for label, tag in zip(self.labels, row_tags, strict=True) if tag],
                dict(zip(self.labels, row, strict=True)),
            )
            for row, row_tags in zip(probabilities.tolist(), tags.tolist(), strict=True)
        ]

    def configure_optimizers(self) -> Optimizer:
        """Returns Adam with Keras's epsilon."""
        return Adam(self.parameters(), lr=self.lr, eps=KERAS_ADAM_EPSILON, fused=True)


def _checked_thresholds(threshold: float | list[float]) -> float | list[float]:
    for value in threshold if isinstance(threshold, list) else [threshold]:
        if not 0 <= value <= 1:
            raise InputError(f"threshold must be in [0, 1], got {value}")
    return threshold


def _listed(labels: Sequence[str] | None) -> str:
    return ", ".join(labels or [])


def _size(image_shape: Sequence[int] | None) -> str:
    return "x".join(map(str, image_shape or []))
