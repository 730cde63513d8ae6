"""What your own images have in common, whether they are in files or in shards."""

from abc import abstractmethod
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from multilabel_pl.data.annotations.fingerprints import RECORDED, note_changes, recorded_images
from multilabel_pl.data.augmentation import Augmentation
from multilabel_pl.data.datamodule import LabelledDataModule, warn_of_seen
from multilabel_pl.schema.tensors import FINGERPRINTS


class OwnImagesDataModule(LabelledDataModule):
    """Your own images, of which a checkpoint records those that it has seen.

    Args:
        val_size: How many images to set aside for validation.
        flip: Whether to mirror half of the training images, at random, left to right.
        min_crop: Training images are cropped to a share of their area between this and 1, and resized again.
        color_jitter: Brightness, contrast and saturation of training images vary by up to this share.
        **kwargs: Options of every data module.
    """

    state_forms = LabelledDataModule.state_forms | dict.fromkeys(RECORDED, FINGERPRINTS)

    def __init__(
        self,
        val_size: float,
        flip: bool = False,
        min_crop: float = 1.0,
        color_jitter: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(val_size, **kwargs)
        moves = self.augmentation
        self.augmentation = Augmentation(moves.max_shift, moves.max_rotation, flip, min_crop, color_jitter)

    @abstractmethod
    def image_fingerprints(self, split: str) -> Tensor:
        """Returns what the images of a split are known by, int64 (N,)."""

    @abstractmethod
    def tag_fingerprints(self, split: str) -> Tensor:
        """Returns what their tags are known by, int64 (N,)."""

    def state_dict(self) -> dict[str, Any]:
        """Also returns which images a checkpoint's model was trained and validated on, and their tags."""
        return super().state_dict() | self._seen()

    def state_when_tuned(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Adds the validation images to those that a checkpoint's model was validated on."""
        own = {name: found for name, found in self._seen().items() if name.startswith("val_") and name in state_dict}
        return state_dict | {name: torch.cat([state_dict[name], found]) for name, found in own.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Also warns of test images that the checkpoint's model has seen, or validation images that trained it."""
        super().load_state_dict(state_dict)
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            note_changes(state_dict, self._seen())
        tests = self.trainer is not None and (self.trainer.testing or self.trainer.predicting)
        splits, seen, use = (
            (["test"], ["train", "val"], "train or validate") if tests else (["val", "test"], ["train"], "train")
        )
        own = torch.cat([self.image_fingerprints(split) for split in splits])
        common = torch.isin(own, recorded_images(state_dict, seen)) & (own != 0)  # of images of one colour, not files
        warn_of_seen(int(common.sum()), len(own), " and ".join(splits), use)

    def _seen(self) -> dict[str, Tensor]:
        kinds = (self.image_fingerprints, self.tag_fingerprints)
        return dict(zip(RECORDED, [kind(split) for split in ("train", "val") for kind in kinds], strict=True))
