"""Labelled images, fetched a whole batch at a time."""

import hashlib
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor
from torch.utils.data import Dataset

from multilabel_pl.digests import paths_digest

Batch: TypeAlias = tuple[Tensor, Tensor]

GRACE = 10  # seconds that a worker may outlive SIGTERM


class LabelledDataset(Dataset[Batch], ABC):
    """Images and their targets, fetched a whole batch at a time.

    DataLoader prefers `__getitems__` where a dataset has it; collating single items is the slowest part of training on
    small images.

    Attributes:
        targets: float32 (N, L), 1 where the image carries the label, NaN where that is unknown, else 0.
        paths: Files of the images, if they have any.
        is_slow: Whether worker processes should fetch.
        shards: How many of the images lie in each file, one file after the other; empty if any order is as fast.
    """

    targets: Tensor
    paths: list[Path] | None = None
    is_slow = False
    shards: Sequence[int] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns a ready batch, images uint8 (B, C, H, W) and targets float32 (B, L)."""

    def fingerprint(self) -> str:
        """Returns what an interrupted prediction knows the images by: their files, if they have any, and targets."""
        digest = hashlib.sha256(self.targets.contiguous().numpy().data)
        return f"{paths_digest(self.paths or [])} {digest.hexdigest()}"

    def __getitem__(self, index: int) -> Batch:
        """Returns one image (C, H, W) and its targets (L,)."""
        images, targets = self.__getitems__([index])
        return images[0], targets[0]


class LabelledImages(LabelledDataset):
    """Images and their targets, in memory.

    Args:
        images: Pixels, uint8 (N, C, H, W) in 0..255.
        targets: float32 (N, L), 1 where the image carries the label, NaN where that is unknown, else 0.
        paths: Files of the images, if they have any.

    Attributes:
        moved: Copies of images and targets on another device, if batches are to be made there.
    """

    def __init__(self, images: Tensor, targets: Tensor, paths: list[Path] | None = None) -> None:
        self.images = images
        self.targets = targets
        self.paths = paths
        self.moved: Batch | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns a ready batch, with one indexing operation each."""
        return self.images[indices], self.targets[indices]

    @property
    def served(self) -> Batch:
        """Images and targets where batches are made of them."""
        return self.moved or (self.images, self.targets)

    def subset(self, rows: Sequence[int] | Tensor) -> "LabelledImages":
        """Copies the images at `rows` (M,) into a set of their own."""
        paths = [self.paths[row] for row in rows] if self.paths is not None else None
        return LabelledImages(self.images[rows], self.targets[rows], paths)


def defer_signals(worker: int) -> None:
    """Lets a worker process outlive Ctrl-C and SIGTERM for a while: the last batch before a run stops needs it.

    Not for longer, as SIGTERM is also what ends a worker that hangs.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))


def identity_collate(batch: Any) -> Any:
    """Returns a ready batch as it is; at module level so that worker processes can import it."""
    return batch
