"""Images in shards, for sets that outgrow one disk, read with LitData (the extra `litdata`)."""

from bisect import bisect_right
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multilabel_pl.data.datasets import Batch, LabelledDataset
from multilabel_pl.data.own_images import OwnImagesDataModule
from multilabel_pl.data.paths import absolute
from multilabel_pl.data.shards import HASHES, REMEDY, Shards, import_litdata
from multilabel_pl.data.summary import summary_of_counts
from multilabel_pl.data.table import TableDataModule
from multilabel_pl.digests import file_digest
from multilabel_pl.errors import InputError, check_at_least
from multilabel_pl.messages import say

BATCH_SIZE = 1024  # of targets that are read at once


class StreamingDataModule(OwnImagesDataModule):
    """Images in shards, which `optimize` has written from a table: a few large files, read in place.

    The images are as large as they were written, and divided as they were then. In an epoch, shards come in a random
    order, and the images of a few of them are shuffled together; several processes read shards of their own.

    Args:
        path: The folder that `optimize` has written.
        num_workers: Processes that read shards; 0 reads in the process that trains, as is fastest on a disk.
        **kwargs: Options of every data module.

    Raises:
        InputError: If a number is out of range or (in `setup`) if the folder is missing, unfinished or damaged, or
            LitData is not installed.
    """

    unrecorded = (*OwnImagesDataModule.unrecorded, "val_size")

    def __init__(
        self,
        path: str,
        num_workers: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(0, **kwargs)  # the shards say how many images validate
        check_at_least(0, num_workers=num_workers)
        if "://" in path:
            raise InputError(f"path must be a folder, got {path}: mount the object store as one")
        self.folder = Path(path)
        self.hparams["path"] = str(absolute(path))  # for use from other folders
        self.num_workers = num_workers

    @cached_property
    def shards(self) -> Shards:
        """The folder's description."""
        return Shards.read(self.folder)

    @property
    def source(self) -> str:
        """The folder, as a report names it."""
        return str(self.folder)

    @property
    def has_validation(self) -> bool:
        """Whether there are validation images; known before `setup`."""
        return self.shards.splits["val"].images > 0

    @property
    def has_test(self) -> bool:
        """Whether there are test images."""
        return self.shards.splits["test"].images > 0

    def setup(self, stage: str) -> None:
        """Reads the description, prints a summary, and opens the images that the stage needs."""
        if not self.labels:
            task = self.shards.task
            self.labels, self.image_shape = task.labels, task.image_shape
            self.preprocessing, self.background = task.preprocessing, task.background
            say(_summary(self.shards))
        if stage == "fit" and not self.shards.splits["train"].images:
            raise InputError(f"{self.folder} has no image for training")
        super().setup(stage)

    def setup_training(self) -> None:
        """Opens the training and the validation images."""
        self.train_set = StreamedImages(self.shards, "train")
        self.val_set = StreamedImages(self.shards, "val") if self.has_validation else None

    def setup_test(self) -> None:
        """Opens the test images."""
        if not self.has_test:
            raise InputError(f"{self.folder} has no test image: write it again, with --data.test_size above 0")
        self.test_set = StreamedImages(self.shards, "test")

    def image_fingerprints(self, split: str) -> Tensor:
        """Returns what the images of a split are known by."""
        return self.shards.hashes(split)[0]

    def tag_fingerprints(self, split: str) -> Tensor:
        """Returns what their tags are known by."""
        return self.shards.hashes(split)[1]


class StreamedImages(LabelledDataset):
    """Images of a split, read from its shards when they are asked for.

    LitData's own order and its distribution to processes are not used: they leave images out, or repeat some, so that
    processes get as many.

    Args:
        shards: The folder.
        split: The split.

    Raises:
        InputError: If a file is missing or damaged, or LitData is not installed.
    """

    is_slow = True

    def __init__(self, shards: Shards, split: str) -> None:
        self.shards = shards.sizes(split)
        self.ends = list(accumulate(self.shards))
        self.folder = shards.folder / split
        self.paths = shards.names(split)
        self.task = shards.task
        self._reader: Any = None  # of this process
        import_litdata()

    def __len__(self) -> int:
        return self.ends[-1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_reader": None}

    @cached_property
    def targets(self) -> Tensor:  # type: ignore[override] # read from the shards, once, if anybody asks
        """float32 (N, L)."""
        starts = range(0, len(self), BATCH_SIZE)
        batches = [list(range(start, min(start + BATCH_SIZE, len(self)))) for start in starts]
        return torch.cat([self.__getitems__(batch)[1] for batch in batches])

    def __getitems__(self, indices: list[int]) -> Batch:
        """Reads a batch."""
        from litdata.streaming.sampler import ChunkedIndex  # LitData's own search for a chunk tries one by one

        if self._reader is None:
            self._reader = import_litdata().StreamingDataset(str(self.folder.absolute()), batch_decode=0)
        places = [ChunkedIndex(index=index, chunk_index=bisect_right(self.ends, index)) for index in indices]
        try:
            samples = [self._reader[place] for place in places]
            images = torch.stack([image for image, _ in samples]).view(len(indices), *self.task.image_shape)
            marks = torch.stack([marks for _, marks in samples])
        except Exception as error:  # whatever LitData raises of a file that has changed meanwhile
            raise self._unreadable() from error
        if images.dtype != torch.uint8 or marks.shape != (len(indices), len(self.task.labels)):
            raise self._unreadable()
        if marks.dtype != torch.int8 or ((marks < -1) | (marks > 1)).any():
            raise self._unreadable()
        return images, marks.float().masked_fill_(marks < 0, torch.nan)

    def fingerprint(self) -> str:
        """Returns what an interrupted prediction knows the images by, without reading them."""
        return file_digest(self.folder / HASHES)

    def _unreadable(self) -> InputError:
        return InputError(f"{self.folder} can't be read: a file is damaged, or was deleted meanwhile; {REMEDY}")


def share_seen_images(content: dict[str, Any], data: Any) -> None:
    """Lets a table or its shards know which images a checkpoint has seen of the other, known by the same hashes.

    Args:
        content: The checkpoint's, which is changed.
        data: The data that it is used on.
    """
    kinds = {kind.__qualname__ for kind in (TableDataModule, StreamingDataModule)}
    own = type(data).__qualname__
    if own in kinds and (others := [content[name] for name in kinds - {own} if name in content]):
        content.setdefault(own, others[0])


def _summary(shards: Shards) -> str:
    images = {split: counts.images for split, counts in shards.splits.items()}
    return summary_of_counts(shards.task.labels, images, _total(shards, "positive"), _total(shards, "known"))


def _total(shards: Shards, name: str) -> list[int]:
    """Adds the counts of all splits, for each label."""
    return [sum(counts) for counts in zip(*(getattr(split, name) for split in shards.splits.values()), strict=True)]
