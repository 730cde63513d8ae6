"""A folder of shards: LitData's chunks of images, and a description of them.

```text
task.json              the task, and the images of each split by label; written last
train/index.json       LitData's list of its chunks
train/chunk-0-0.bin    pixels and marks of a few thousand images
train/hashes.npy       what a checkpoint knows the images and their tags by
test/names.json        the files that the images were made from
```
"""

import json
import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multilabel_pl.data.annotations.records import SPLITS
from multilabel_pl.data.shard_layout import (
    ARROW,
    CHUNKS,
    FILE_NAMES,
    VERSION,
    chunk_head,
    chunk_size,
    description_form,
    splits_form,
)
from multilabel_pl.errors import InputError, check_extra
from multilabel_pl.file_names import SHARDS
from multilabel_pl.schema.forms import check_form
from multilabel_pl.task import Task

INDEX, HASHES, NAMES = "index.json", "hashes.npy", "names.json"
REMEDY = "write it again with the command optimize"


@dataclass(frozen=True)
class Counts:
    """What a split holds.

    Attributes:
        images: How many images.
        positive: For each label, how many carry it.
        known: For each label, of how many that is known.
    """

    images: int
    positive: list[int]
    known: list[int]


@dataclass(frozen=True)
class Shards:
    """A folder of shards, whose description has been read.

    Attributes:
        folder: The folder.
        task: What the images are for.
        splits: What is in each split.
    """

    folder: Path
    task: Task
    splits: Mapping[str, Counts]

    @classmethod
    def read(cls, folder: Path) -> "Shards":
        """Reads the description of a folder.

        Raises:
            InputError: If there is no such folder, it was not finished, or it is not of this form.
        """
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}: write one with optimize TABLE --output {folder}")
        path = folder / SHARDS
        if not path.is_file():
            raise InputError(f"{folder} has no {SHARDS}: optimize has not finished it, or it is no folder of shards")
        content = _read_json(path)
        check_form(content, description_form(), path, remedy=REMEDY)
        labels = content["task"]["labels"]
        check_form(content["splits"], splits_form(len(labels)), path, "splits", REMEDY)
        try:
            task = Task(**content["task"])
        except InputError as error:
            raise InputError(f"{path} can't be used: {error}; {REMEDY}") from None
        empty = {"images": 0, "positive": [0] * len(labels), "known": [0] * len(labels)}
        splits = {split: Counts(**content["splits"].get(split, empty)) for split in SPLITS}
        return cls(folder, task, splits)

    def description(self) -> dict[str, Any]:
        """Returns what `read` reads."""
        splits = {split: vars(counts) for split, counts in self.splits.items()}
        return {"version": VERSION, "task": self.task.to_dict(), "splits": splits}

    def sizes(self, split: str) -> list[int]:
        """Checks a split, and returns the number of images in each of its chunks.

        Raises:
            InputError: If a file is missing, damaged, or not of the form in which this program writes it.
        """
        folder = self.folder / split
        index = _read_json(folder / INDEX)
        check_form(index, CHUNKS, folder / INDEX, remedy=REMEDY)
        chunks = index["chunks"]
        names, sizes = [chunk["filename"] for chunk in chunks], [chunk["chunk_size"] for chunk in chunks]
        total = self.splits[split].images
        if len(set(names)) < len(names) or sum(sizes) != total:
            raise InputError(f"{folder / INDEX} can't be used: its chunks are not those of {total} images; {REMEDY}")
        with ThreadPoolExecutor() as pool:  # folders on a network take a while to answer
            list(pool.map(lambda chunk: self._check_chunk(folder / chunk["filename"], chunk), chunks))
        return sizes

    def hashes(self, split: str) -> tuple[Tensor, Tensor]:
        """Returns what a checkpoint knows the images of a split and their tags by, int64 (N,) each.

        Raises:
            InputError: If the file is missing or damaged.
        """
        path, count = self.folder / split / HASHES, self.splits[split].images
        if count == 0:
            return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
        try:
            found = np.load(path, allow_pickle=False)
        except Exception as error:  # of any kind: NumPy evaluates the bytes that it reads
            raise _unreadable(path, error) from None
        if not isinstance(found, np.ndarray) or found.dtype != np.int64 or found.shape != (2, count):
            raise InputError(f"{path} can't be used: it is not of {count} images; {REMEDY}")
        images, tags = torch.from_numpy(found)
        return images, tags

    def names(self, split: str) -> list[Path] | None:
        """Returns the files that the images of a split were made from, if they are recorded."""
        path = self.folder / split / NAMES
        if not path.is_file():
            return None
        names = _read_json(path)
        check_form(names, FILE_NAMES, path, remedy=REMEDY)
        if len(names) != self.splits[split].images:
            raise InputError(f"{path} can't be used: it is not of {self.splits[split].images} images; {REMEDY}")
        return list(map(Path, names))

    def _check_chunk(self, path: Path, chunk: Mapping[str, Any]) -> None:
        """Checks that a chunk holds images and their marks, and nothing that LitData would read as something else."""
        count = chunk["chunk_size"]
        head, size = chunk_head(count, self.task), chunk_size(count, self.task)
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno()).st_size
                start = file.read(len(head))
                file.seek(max(found - len(ARROW), 0))
                end = file.read()
        except OSError as error:
            raise _unreadable(path, error) from None
        if found != size or chunk["chunk_bytes"] != size:
            raise InputError(f"{path} has {found:,} bytes, but {count:,} images take {size:,}; {REMEDY}")
        if start != head or end == ARROW:
            raise InputError(f"{path} can't be used: it is damaged; {REMEDY}")


def import_litdata() -> Any:
    """Imports LitData, which takes seconds, and silences torch's warning of its read-only memory.

    Raises:
        InputError: If it is not installed, or of an unsupported version.
    """
    check_extra("litdata", "the use of shards")
    import litdata

    warnings.filterwarnings("ignore", "The given buffer is not writable", module=r"litdata\.")  # the images are copied
    return litdata


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged"
    return InputError(f"{path} can't be read: {reason}; {REMEDY}")
