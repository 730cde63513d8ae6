"""The LightningModule: a network and a head, with its labels and thresholds."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from multilabel_pl.errors import InputError
from multilabel_pl.model.head import HEADS, HeadName
from multilabel_pl.model.metrics import EpochOutputs, multilabel_metrics
from multilabel_pl.model.network import ConvDataFormat, ConvPoolDense

LRSchedule = Literal["constant", "one_cycle"]

KERAS_ADAM_EPSILON = 1e-7
IMAGE_DIMENSIONS = 3
PREDICT_BATCH_SIZE = 250


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
        lr: Learning rate of Adam; with `one_cycle`, the highest.
        lr_schedule: `constant`, or `one_cycle`: up for the first third of the training, then down to nothing.
        weight_decay: Decoupled weight decay of Adam (AdamW).
        compile: Whether to train with torch.compile, which takes a while to start and pays on GPUs.
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
        lr_schedule: LRSchedule = "constant",
        weight_decay: float = 0.0,
        compile: bool = False,  # noqa: A002, the name that users know
        threshold: float | list[float] = 0.5,
        labels: list[str] | None = None,
        image_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        _check_choice("head", head, get_args(HeadName))
        _check_choice("conv_data_format", conv_data_format, get_args(ConvDataFormat))
        _check_choice("lr_schedule", lr_schedule, get_args(LRSchedule))
        if not 0 < lr < math.inf:
            raise InputError(f"lr must be a positive number, got {lr}")
        if not 0 <= weight_decay < math.inf:
            raise InputError(f"weight_decay must be at least 0, got {weight_decay}")
        self.save_hyperparameters()
        self.head = HEADS[head]
        self.conv_data_format: ConvDataFormat = conv_data_format
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.weight_decay = weight_decay
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
        if self.hparams["compile"] and stage == "fit":
            self.network.compile()  # in place, so that the weights keep their names in checkpoints

    def adopt(self, labels: Sequence[str], image_shape: Sequence[int]) -> None:
        """Builds the network for these labels and images; a model that was made for other ones refuses them.

        Args:
            labels: Names of the labels.
            image_shape: Channels, height and width.

        Raises:
            InputError: If the model has other labels or another shape, or can't be built for these.
        """
        if self.labels is not None and list(self.labels) != list(labels):
            raise InputError(f"the model's labels are {_listed(self.labels)}, but the data's are {_listed(labels)}")
        if self.image_shape is not None and list(self.image_shape) != list(image_shape):
            raise InputError(
                f"the model's images are {_size(self.image_shape)}, but the data's are {_size(image_shape)}"
            )
        if not self._is_built:
            self._build(list(labels), list(image_shape))

    @property
    def _is_built(self) -> bool:
        return hasattr(self, "network")

    def _build(self, labels: list[str], image_shape: list[int]) -> None:
        """Makes the network and the thresholds, and records what they are for."""
        if len(image_shape) != IMAGE_DIMENSIONS:
            raise InputError(f"image_shape must be channels, height and width, got {_size(image_shape)}")
        if repeated := [label for label, count in Counter(labels).items() if count > 1]:
            raise InputError(f"labels must differ, got {repeated[0]} twice")
        if isinstance(self.threshold, list) and len(self.threshold) != len(labels):
            raise InputError(f"threshold must be a number or {len(labels)} of them, got {len(self.threshold)}")
        if self.hparams["head"] == "softmax" and len(labels) < 2:
            raise InputError(f"the softmax head needs at least 2 labels, got {len(labels)}: use --model.head sigmoid")
        self.labels, self.image_shape = labels, image_shape
        self.hparams.update(labels=labels, image_shape=image_shape)
        channels, height, width = image_shape
        self.network = ConvPoolDense((channels, height, width), len(labels), self.conv_data_format)
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
    def predict_images(self, images: Tensor | NDArray[np.uint8]) -> list[Prediction]:
        """Tags images.

        Args:
            images: A tensor or an array of uint8, one image (C, H, W) or several (N, C, H, W), in the shape that the
                model was trained on.

        Returns:
            One prediction for each image.

        Raises:
            InputError: If the images are not uint8, or of another shape than the model's.
        """
        if self.labels is None:
            raise InputError("the model has no labels yet: fit it, or load it from a checkpoint")
        images = torch.as_tensor(images)
        shape = list(images.shape)
        if images.dtype != torch.uint8 or shape[-IMAGE_DIMENSIONS:] != list(self.image_shape or []) or len(shape) > 4:
            expected = ", ".join(map(str, self.image_shape or []))
            raise InputError(f"images must be torch.uint8 (N, {expected}), got {images.dtype} {tuple(shape)}")
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

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns Adam with Keras's epsilon and decoupled weight decay, and the schedule of its learning rate."""
        # Without weight decay, AdamW is Adam.
        optimizer = AdamW(
            self.parameters(), lr=self.lr, eps=KERAS_ADAM_EPSILON, weight_decay=self.weight_decay, fused=True
        )
        if self.lr_schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = OneCycleLR(optimizer, max_lr=self.lr, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {value}")


def _checked_thresholds(threshold: float | list[float]) -> float | list[float]:
    for value in threshold if isinstance(threshold, list) else [threshold]:
        if not 0 <= value <= 1:
            raise InputError(f"threshold must be in [0, 1], got {value}")
    return threshold


def _listed(labels: Sequence[str] | None) -> str:
    return ", ".join(labels or [])


def _size(image_shape: Sequence[int] | None) -> str:
    return "x".join(map(str, image_shape or []))
