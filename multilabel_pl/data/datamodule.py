"""The base class of data modules that serve labelled images."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from multilabel_pl.data.augmentation import Augmentation
from multilabel_pl.data.datasets import Batch, LabelledDataset, LabelledImages, defer_signals, identity_collate
from multilabel_pl.data.memory_loader import MemoryLoader, move_to_device
from multilabel_pl.data.prediction_order import PredictionOrder
from multilabel_pl.data.sampler import EpochLoader, EpochOrder
from multilabel_pl.errors import InputError, check_at_least
from multilabel_pl.messages import note, warn
from multilabel_pl.schema.forms import Form, whole_number
from multilabel_pl.task import WHITE, Preprocessing, Task

MAX_SEED = 2**64 - 1  # of torch


class LabelledDataModule(LightningDataModule, ABC):
    """What every data module of this package offers.

    A subclass sets `train_set` and `val_set` in its `setup_training`, and `test_set` in its `setup_test`.

    Args:
        val_size: Number of validation images; 0 validates on none.
        batch_size: Images in a training batch.
        eval_batch_size: Images in a batch of validation, test and prediction; it changes the speed, not the results.
        max_shift: Training images are shifted by up to so many pixels, up, down and sideways.
        max_rotation: Training images are rotated by up to so many degrees, either way.
        on_device: Whether images in memory are copied to the GPU once, and batches made there.

    Attributes:
        labels: Names of the labels, in the order of the target columns; known after `setup`.
        image_shape: Channels, height and width of every image; like the labels.
        preprocessing: How other images are brought to this shape.
        background: Colour laid behind their transparent pixels.
        augmentation: Random changes to training images.
        seed: Seed of the order of the training images, and of all that is random about a batch of them.

    Raises:
        InputError: If a batch size is below 1, or another number below 0.
    """

    labels: Sequence[str] = ()
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing = "resize"
    background: str = WHITE
    train_set: LabelledDataset | None = None
    val_set: LabelledDataset | None = None
    test_set: LabelledDataset | None = None
    num_workers: int = 0  # for datasets that are slow
    prediction_order: PredictionOrder | None = None  # set by `setup`, for a trainer's `predict`
    unrecorded: ClassVar[tuple[str, ...]] = ("on_device",)  # options of this machine, not of a checkpoint
    state_forms: ClassVar[dict[str, Form]] = {"seed": whole_number(0, MAX_SEED)}  # of what `state_dict` returns

    def __init__(
        self,
        val_size: float,
        batch_size: int = 64,
        eval_batch_size: int = 250,
        max_shift: float = 0.0,
        max_rotation: float = 0.0,
        on_device: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # so that a checkpoint knows the data it was trained on
        for name in self.unrecorded:
            self.hparams.pop(name)
        self.hparams["class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"
        check_at_least(1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_at_least(0, val_size=val_size)
        self.val_size = val_size
        self.augmentation = Augmentation(max_shift, max_rotation)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.on_device = on_device
        self.seed = torch.initial_seed()

    @property
    def task(self) -> Task:
        """The task that these images are for; known after `setup`."""
        return Task(self.labels, self.image_shape, self.preprocessing, self.background)

    @property
    def source(self) -> str:
        """What a report calls the data: the class, or the files."""
        return type(self).__name__

    @property
    def has_validation(self) -> bool:
        """Whether there are validation images; known before `setup`."""
        return self.val_size > 0

    @property
    def has_test(self) -> bool:
        """Whether there are test images; known after `setup` for training."""
        return True

    def setup(self, stage: str) -> None:
        """Opens the sets that the stage needs, once: `fit` and `validate` never see the test images."""
        if stage == "validate" and not self.has_validation:
            raise InputError("there are no images to validate on: val_size is 0; use test, or a larger val_size")
        if stage in ("fit", "validate"):
            if self.train_set is None:
                self.setup_training()
        elif self.test_set is None:
            self.setup_test()
        if stage == "predict" and self.trainer is not None and self.test_set is not None:
            self.prediction_order = PredictionOrder.shared_by(self.trainer, len(self.test_set), self.eval_batch_size)

    @abstractmethod
    def setup_training(self) -> None:
        """Sets the training set, and the validation set if there is to be one."""

    @abstractmethod
    def setup_test(self) -> None:
        """Sets the test set."""

    def train_dataloader(self) -> DataLoader[Batch]:
        """Serves the training images, shuffled in every epoch."""
        assert self.train_set is not None, "setup comes first"
        return self._loader(self.train_set, self.batch_size, self._order(self.train_set))

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Serves the validation images in order; an empty list, as Lightning expects, if there are none."""
        return self._loader(self.val_set, self.eval_batch_size) if self.val_set is not None else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Serves the test images in order."""
        assert self.test_set is not None, "setup comes first"
        return self._loader(self.test_set, self.eval_batch_size)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Serves the test images in order; under a trainer, those that this process has still to predict."""
        if self.test_set is None or (order := self.prediction_order) is None:
            return self.test_dataloader()
        return self._loader(self.test_set, order.batch_size, order)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augments a training batch on its device.

        What is random about the batch, in the network as well, depends on the seed and its number alone, so a resumed
        run repeats it.
        """
        if self.trainer is None or not self.trainer.training:
            return batch
        number = self.trainer.fit_loop.total_batch_idx + 1
        [seed] = np.random.SeedSequence((self.seed, number, self.trainer.global_rank)).generate_state(1).tolist()
        images, targets = batch
        # torch.manual_seed would do both, but takes a while to note where it was called from.
        torch.default_generator.manual_seed(seed)
        if images.device.type != "cpu":
            torch.get_device_module(images.device).manual_seed(seed)
        return self.augmentation(images), targets

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run has to know."""
        return {"seed": self.seed}

    def state_when_tuned(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Returns a checkpoint's state of the data after its thresholds were learned from the validation images."""
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the seed of the run that is resumed."""
        self.seed = state_dict.get("seed", self.seed)  # older checkpoints have none

    def _order(self, images: LabelledDataset) -> EpochOrder:
        if self.trainer is None:
            return EpochOrder(len(images), self.seed, shards=images.shards)
        trainer = self.trainer
        return EpochOrder(
            len(images),
            seed=trainer.strategy.broadcast(self.seed),
            num_replicas=trainer.world_size,
            rank=trainer.global_rank,
            done=lambda: (trainer.fit_loop.batch_idx + 1) * self.batch_size,  # after a resume within the epoch
            shards=images.shards,
        )

    def _loader(
        self, images: LabelledDataset, batch_size: int, order: EpochOrder | PredictionOrder | None = None
    ) -> DataLoader[Batch]:
        if self.on_device and not isinstance(order, PredictionOrder):  # of which Lightning has batches fetched by lists
            self._move(images, is_training=isinstance(order, EpochOrder))
        by_order = EpochLoader if isinstance(order, EpochOrder) else DataLoader
        workers = self.num_workers if images.is_slow else 0
        one_is_left = isinstance(order, EpochOrder) and len(order) > batch_size and len(order) % batch_size == 1
        return (MemoryLoader if isinstance(images, LabelledImages) else by_order)(
            dataset=images,
            batch_size=batch_size,
            sampler=order,
            drop_last=one_is_left,  # in training, as batch normalisation can do nothing with a single image
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=identity_collate,
            worker_init_fn=defer_signals,
            pin_memory=torch.cuda.is_available(),
        )

    def _move(self, images: LabelledDataset, is_training: bool) -> None:
        """Copies images to the trainer's device; of those for training that are not in memory, a note says so."""
        if isinstance(images, LabelledImages):
            if self.trainer is not None:
                move_to_device(images, self.trainer.strategy.root_device)
        elif is_training:
            note("on_device has no effect: these images are made as they are needed, not kept in memory")


def warn_of_seen(common: int, total: int, splits: str, use: str) -> None:
    """Warns if images that are evaluated were used to train or validate a checkpoint.

    Args:
        common: How many.
        total: Of how many.
        splits: What they are now, such as `test`.
        use: What they were used to do, such as `train`.
    """
    if common > 0:
        warn(
            f"{common} of {total} {splits} images were used to {use} this checkpoint: the data or the split has changed"
        )
