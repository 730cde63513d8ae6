"""The data module that serves labelled images."""

import math
from abc import ABC, abstractmethod

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from multilabel_pl.data.augment import shift_and_rotate
from multilabel_pl.data.datasets import Batch, LabelledDataset, as_is
from multilabel_pl.data.order import EpochOrder
from multilabel_pl.errors import InputError
from multilabel_pl.images.files import WHITE
from multilabel_pl.images.preprocessing import Preprocessing


class LabelledDataModule(LightningDataModule, ABC):
    """What every data module of this package offers.

    A subclass fills `train_set` and `val_set` in its `setup_training`, and `test_set` in its `setup_test`.

    Args:
        val_size: Number of validation images; 0 validates on none.
        batch_size: Images in a training batch.
        eval_batch_size: Images in a batch of validation, test and prediction; it changes the speed, not the results.
        max_shift: Training images are shifted by up to so many pixels, up, down and sideways.
        max_rotation: Training images are rotated by up to so many degrees, either way.

    Attributes:
        labels: The names of the labels, in the order of the target columns.
        image_shape: Channels, height and width of every image; known after `setup`.
        preprocessing: How other pictures are brought to the form of these images.
        background: The colour that is laid behind their transparent pixels.

    Raises:
        InputError: If a batch size is below 1, or another number below 0.
    """

    labels: list[str]
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing = "resize"
    background: str = WHITE
    train_set: LabelledDataset | None = None
    val_set: LabelledDataset | None = None
    test_set: LabelledDataset | None = None
    num_workers: int = 0  # for datasets that are slow

    def __init__(
        self,
        val_size: float,
        batch_size: int = 64,
        eval_batch_size: int = 250,
        max_shift: float = 0.0,
        max_rotation: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # so that a checkpoint knows the data it was trained on
        self.hparams["class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"
        for name, size in {"batch_size": batch_size, "eval_batch_size": eval_batch_size}.items():
            if size < 1:
                raise InputError(f"{name} must be at least 1, got {size}")
        if not 0 <= val_size < math.inf:
            raise InputError(f"val_size must be at least 0, got {val_size}")
        for name, amount in {"max_shift": max_shift, "max_rotation": max_rotation}.items():
            if not 0 <= amount < math.inf:
                raise InputError(f"{name} must be at least 0, got {amount}")
        self.val_size = val_size
        self.max_shift = max_shift
        self.max_rotation = max_rotation
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size

    def setup(self, stage: str) -> None:
        """Fills the sets that the stage needs, once: `fit` and `validate` never see the test images."""
        if stage == "validate" and not self.has_validation:
            raise InputError("there are no images to validate on: val_size is 0; use test, or a larger val_size")
        if stage in ("fit", "validate"):
            if self.train_set is None:
                self.setup_training()
        elif self.test_set is None:
            self.setup_test()

    @abstractmethod
    def setup_training(self) -> None:
        """Fills the training set, and the validation set if there is to be one."""

    @abstractmethod
    def setup_test(self) -> None:
        """Fills the test set."""

    @property
    def has_validation(self) -> bool:
        """Whether there are validation images; known before `setup`."""
        return self.val_size > 0

    def train_dataloader(self) -> DataLoader[Batch]:
        """Serves the training images in an order of its own for every epoch."""
        assert self.train_set is not None, "setup comes first"
        order = EpochOrder(len(self.train_set), seed=torch.initial_seed())
        return self._loader(self.train_set, self.batch_size, order)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augments the batches of training, on the device that they have reached."""
        images, targets = batch
        if self.trainer is not None and self.trainer.training and (self.max_shift > 0 or self.max_rotation > 0):
            images = shift_and_rotate(images, self.max_shift, self.max_rotation)
        return images, targets

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Serves the validation images in order; an empty list, Lightning's word for none, if there are none."""
        return self._loader(self.val_set, self.eval_batch_size) if self.val_set is not None else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Serves the test images in order."""
        assert self.test_set is not None, "setup comes first"
        return self._loader(self.test_set, self.eval_batch_size)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Serves the test images in order."""
        return self.test_dataloader()

    def _loader(self, images: LabelledDataset, batch_size: int, order: EpochOrder | None = None) -> DataLoader[Batch]:
        workers = self.num_workers if images.is_slow else 0
        one_is_left = order is not None and len(images) > batch_size and len(images) % batch_size == 1
        return DataLoader(
            dataset=images,
            batch_size=batch_size,
            sampler=order,
            drop_last=one_is_left,  # in training, as batch normalisation can do nothing with a single image
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=as_is,
            pin_memory=torch.cuda.is_available(),
        )
