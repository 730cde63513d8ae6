"""Image files to predict."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from multilabel_pl.data.datasets import Batch, LabelledDataset, defer_signals, identity_collate
from multilabel_pl.data.prediction_order import PredictionOrder
from multilabel_pl.digests import paths_digest
from multilabel_pl.errors import InputError, check_at_least
from multilabel_pl.images.decoding import MAX_PIXELS, find_images
from multilabel_pl.images.inputs import load_file
from multilabel_pl.processes import usable_cores
from multilabel_pl.task import Preprocessing, Task

BATCH_SIZE = 32


class FileBatch(NamedTuple):
    """Images of files, uint8 (B, C, H, W), and the problem of each file, if any; those with one are black."""

    images: Tensor
    problems: list[str | None]


class StoredImages:
    """Decoded images on disk.

    Args:
        pixels: uint8 (M, C, H, W), mapped from a file.
        slots: Where each image is there, int64 (N,).
    """

    def __init__(self, pixels: NDArray[np.uint8], slots: NDArray[np.int64]) -> None:
        self.pixels = pixels
        self.slots = slots

    def __call__(self, indices: Sequence[int]) -> Tensor:
        """Returns images, uint8 (B, C, H, W), with one indexing operation."""
        return torch.from_numpy(np.take(self.pixels, self.slots[indices], axis=0))

    def subset(self, indices: Sequence[int]) -> "StoredImages":
        """Returns some of the images."""
        return StoredImages(self.pixels, self.slots[indices])


class ImageFiles(Dataset[FileBatch]):
    """Image files, decoded and brought to the shape of a task's images when they are asked for.

    Attributes:
        stored: The decoded images, if all are kept on disk.

    Args:
        paths: The files.
        task: The task.
        max_pixels: A file that has more is not decoded.
    """

    def __init__(self, paths: list[Path], task: Task, max_pixels: int = MAX_PIXELS) -> None:
        self.paths = paths
        self.task = task
        self.max_pixels = max_pixels
        self.stored: StoredImages | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, indices: Sequence[int]) -> "ImageFiles":
        """Returns some of the files."""
        some = ImageFiles([self.paths[index] for index in indices], self.task, self.max_pixels)
        some.stored = self.stored.subset(indices) if self.stored is not None else None
        return some

    def fingerprint(self) -> str:
        """Returns what an interrupted prediction knows the images by: their paths and how they are decoded."""
        return f"{paths_digest(self.paths)} {self.task} {self.max_pixels}"

    def __getitems__(self, indices: list[int]) -> FileBatch:
        """Returns a ready batch."""
        if self.stored is not None:
            return FileBatch(self.stored(indices), [None] * len(indices))
        images, problems = zip(*(self._read(self.paths[i]) for i in indices), strict=True)
        return FileBatch(torch.stack(images), list(problems))

    def _read(self, path: Path) -> tuple[Tensor, str | None]:
        try:
            return load_file(path, self.task, self.max_pixels), None
        except InputError as error:
            return torch.zeros(self.task.image_shape, dtype=torch.uint8), str(error)


class LabelledFiles(LabelledDataset):
    """Image files and their targets; the files are decoded whenever they are asked for.

    Args:
        files: The images.
        targets: float32 (N, L).
    """

    def __init__(self, files: ImageFiles, targets: Tensor) -> None:
        self.files = files
        self.targets = targets
        self.paths = files.paths
        self.is_slow = files.stored is None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Decodes a batch."""
        images, problems = self.files.__getitems__(indices)
        if problem := next(filter(None, problems), None):
            raise InputError(f"{problem}, though it could be when the table was opened")
        return images, self.targets[indices]

    def subset(self, rows: Sequence[int]) -> "LabelledFiles":
        """Returns some of the images."""
        return LabelledFiles(self.files.subset(rows), self.targets[rows])


class ImageFilesDataModule(LightningDataModule):
    """Image files of any size and format, for `predict`; the labels are the model's.

    Args:
        path: An image, a folder of images, a pattern such as `scans/**/*.png`, or a list of these.
        list_file: A text file that names an image, a folder or a pattern on each line; `-` for standard input. On the
            command line, `--list` for short.
        preprocessing: How the images are brought to the shape of the model's: `mnist` finds the digit on a page,
            `resize` takes the whole image. As for the model's training images if not given.
        batch_size: Images in a batch; it changes the speed, not the results.
        num_workers: Processes that decode the files; one for each core if not given and there are several batches.
        max_pixels: A file that has more is not decoded, but reported.

    Raises:
        InputError: If a number is out of range or (in `setup`) if no image is found, if there are fewer than processes
            to share them, or for anything but `predict`.
    """

    task: Task  # this and the next from `setup` on: the model's,
    order: PredictionOrder  # and the images of this process

    def __init__(
        self,
        path: str | list[str] | None = None,
        list_file: str | None = None,
        preprocessing: Preprocessing | None = None,
        batch_size: int = BATCH_SIZE,
        num_workers: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__()
        check_at_least(1, batch_size=batch_size, max_pixels=max_pixels)
        check_at_least(0, num_workers=num_workers or 0)
        self.paths = [path] if isinstance(path, str) else list(path or [])
        self.list_file = list_file
        self.listed: list[str] = []
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.max_pixels = max_pixels

    def setup(self, stage: str) -> None:
        """Finds the files, and takes the task from the trainer's model."""
        if stage != "predict":
            raise InputError(f"ImageFilesDataModule has no labels for {stage}: it is for predict")
        task = getattr(self.trainer.lightning_module, "task", None)  # type: ignore[union-attr] # the trainer calls this
        if not isinstance(task, Task):
            raise InputError("the model has no labels yet: fit it, or load it from a checkpoint")
        self.task = replace(task, preprocessing=self.preprocessing or task.preprocessing)
        if self.list_file is not None:
            self.listed = _read_list(self.list_file)
            self.list_file = None  # standard input can be read but once
        if not self.paths and not self.listed:
            raise InputError("no images are named: give paths, folders or patterns, or a list of them with --list")
        paths = [*find_images(self.paths), *find_images(self.listed, keep_missing=True)]
        self.files = ImageFiles(paths, self.task, self.max_pixels)
        self.order = PredictionOrder.shared_by(self.trainer, len(paths), self.batch_size)  # type: ignore[arg-type]

    def predict_dataloader(self) -> DataLoader[FileBatch]:
        """Serves the files in order."""
        workers = self.num_workers
        if workers is None:
            batches = math.ceil(len(self.order) / self.order.batch_size)
            cores = max(usable_cores() // self.order.num_replicas, 1)
            workers = min(cores, batches) if batches > 1 else 0
        return DataLoader(
            dataset=self.files,
            batch_size=self.order.batch_size,
            sampler=self.order,
            num_workers=workers,
            collate_fn=identity_collate,
            worker_init_fn=defer_signals,
            pin_memory=torch.cuda.is_available(),
        )


def _read_list(path: str) -> list[str]:
    """Returns the lines of a text file that are not empty."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise InputError(f"--list takes a text file, and {path} can't be read as one: {reason}") from error
    if not (lines := [line for line in text.split("\n") if line.strip()]):
        raise InputError(f"{path} names no image: write one on each line")
    return lines
