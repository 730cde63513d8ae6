"""Image files to predict."""

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from multilabel_pl.data.datasets import Batch, LabelledDataset, as_is
from multilabel_pl.errors import InputError
from multilabel_pl.images.decoding import find_images
from multilabel_pl.images.inputs import load_file
from multilabel_pl.images.preprocessing import ImageForm, Preprocessing


class FileBatch(NamedTuple):
    """Images of files, uint8 (B, C, H, W), and what is wrong with each file; those that can't be used are black."""

    images: Tensor
    problems: list[str | None]


class ImageFiles(Dataset[FileBatch]):
    """Image files, read and brought to the form of a model's images when they are asked for.

    Args:
        paths: The files.
        form: That of the model's images.
    """

    def __init__(self, paths: list[Path], form: ImageForm) -> None:
        self.paths = paths
        self.form = form

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, indices: list[int]) -> FileBatch:
        """Returns a ready batch."""
        images, problems = zip(*(self._read(self.paths[i]) for i in indices), strict=True)
        return FileBatch(torch.stack(images), list(problems))

    def _read(self, path: Path) -> tuple[Tensor, str | None]:
        try:
            return load_file(path, self.form), None
        except InputError as error:
            return torch.zeros(self.form.shape, dtype=torch.uint8), str(error)


class LabelledFiles(LabelledDataset):
    """Image files and their targets; the files are decoded whenever they are asked for.

    Args:
        files: The images.
        targets: float32 (N, L).
    """

    is_slow = True

    def __init__(self, files: ImageFiles, targets: Tensor) -> None:
        self.files = files
        self.targets = targets
        self.paths = files.paths

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Decodes a batch."""
        images, problems = self.files.__getitems__(indices)
        if problem := next(filter(None, problems), None):
            raise InputError(f"{problem}, though it could be when the table was opened")
        return images, self.targets[indices]


class ImageFilesDataModule(LightningDataModule):
    """Image files of any size and kind, for `predict`; the labels are those of the model.

    Args:
        path: An image, a folder of images, a pattern such as `scans/**/*.png`, or a list of these.
        preprocessing: How the pictures are brought to the form of the model's images. `mnist` finds the digit on a
            page; `resize` takes the whole picture. That of the model's training images if not given.
        batch_size: Images in a batch; it changes the speed, not the results.
        num_workers: Processes that read the files; one for each core if not given and there are several batches.

    Attributes:
        labels: The names of the model's labels.
        image_shape: Channels, height and width of the model's images.

    Raises:
        InputError: If a number is out of range or (in `setup`) if no image is found, or for anything but `predict`.
    """

    labels: list[str]
    image_shape: tuple[int, int, int]

    def __init__(
        self,
        path: str | list[str],
        preprocessing: Preprocessing | None = None,
        batch_size: int = 32,
        num_workers: int | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        if num_workers is not None and num_workers < 0:
            raise InputError(f"num_workers must be at least 0, got {num_workers}")
        self.path = path
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.num_workers = num_workers

    def setup(self, stage: str) -> None:
        """Finds the files, and takes from the trainer's model what they are to be brought to."""
        if stage != "predict":
            raise InputError(f"ImageFilesDataModule has no labels for {stage}: it is for predict")
        model: Any = self.trainer.lightning_module  # type: ignore[union-attr] # the trainer calls this
        form: ImageForm = model.form
        form = replace(form, preprocessing=self.preprocessing or form.preprocessing)
        self.labels, self.image_shape = model.labels, form.shape
        self.files = ImageFiles(find_images(self.path), form)

    def predict_dataloader(self) -> DataLoader[FileBatch]:
        """Serves the files in order.

        Raises:
            InputError: If there are fewer than processes to share them.
        """
        if (processes := self.trainer.world_size if self.trainer else 1) > len(self.files):
            raise InputError(f"{processes} processes can't share {len(self.files)} images: lower --trainer.devices")
        workers = self.num_workers
        if workers is None:
            batches = math.ceil(len(self.files) / self.batch_size)
            workers = min(os.cpu_count() or 1, batches) if batches > 1 else 0
        return DataLoader(
            dataset=self.files,
            batch_size=self.batch_size,
            num_workers=workers,
            collate_fn=as_is,
            pin_memory=torch.cuda.is_available(),
        )
