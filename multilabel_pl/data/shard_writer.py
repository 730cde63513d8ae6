"""Writes images into shards, with LitData (the extra `litdata`)."""

import json
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from multilabel_pl.atomic import atomic_path, check_writable
from multilabel_pl.data.annotations.fingerprints import Fingerprints, tag_fingerprints
from multilabel_pl.data.annotations.records import SPLITS
from multilabel_pl.data.check import digests_of
from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.data.datasets import Batch, LabelledDataset, identity_collate
from multilabel_pl.data.image_files import BATCH_SIZE
from multilabel_pl.data.shard_layout import image_size
from multilabel_pl.data.shards import HASHES, NAMES, Counts, Shards, import_litdata
from multilabel_pl.data.table import TableDataModule
from multilabel_pl.errors import InputError
from multilabel_pl.file_names import SHARDS
from multilabel_pl.messages import say

SHARD_BYTES = 2**26  # LitData's own default
NAMED = ("val", "test")  # splits of which reports name the images
SEED = 0  # of the order of the training images


def write_shards(data: LabelledDataModule, folder: Path) -> None:
    """Writes all images of a data module, each split on its own; the description comes last.

    The training images are shuffled once: an epoch mixes those of a few shards only, and tables are often sorted.

    Args:
        data: The images.
        folder: Where to; it must be new, or empty.

    Raises:
        InputError: If LitData is not installed, the folder has files or can't be written, or an image can't be read.
    """
    _check_output(folder)
    data.setup("fit")
    if data.has_test:
        data.setup("test")
    shards = Shards(folder, data.task, {})
    sets = {"train": data.train_set, "val": data.val_set, "test": data.test_set}
    known = data.fingerprints if isinstance(data, TableDataModule) else Fingerprints()
    counts = {s: _write(shards, s, images, data.num_workers, known) for s in SPLITS if (images := sets[s]) is not None}
    _write_json(folder / SHARDS, Shards(folder, data.task, counts).description())
    say(f"written to {folder}; train on them: fit {shlex.quote(str(folder))}")


def _check_output(folder: Path) -> None:
    """Checks that shards can be written to a folder, before any image is read for them."""
    import_litdata()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output must be a folder, but {folder} is a file")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: delete it, or name another folder")
    check_writable(folder / SHARDS)


def _write(shards: Shards, split: str, images: LabelledDataset, num_workers: int, fingerprints: Fingerprints) -> Counts:
    """Writes the images of a split, and returns what it holds."""
    folder = shards.folder / split
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(SEED).permutation(len(images)) if split == "train" else np.arange(len(images))
    numbers = order.tolist()
    marks, digests = _write_chunks(folder, _batches(images, numbers, num_workers, split), image_size(shards.task))
    files = [str(images.paths[i]) for i in numbers] if images.paths is not None else None
    hashes = fingerprints(files) if files is not None else torch.tensor(digests)
    with atomic_path(folder / HASHES) as path, path.open("wb") as file:
        np.save(file, torch.stack([hashes, tag_fingerprints(shards.task.labels, marks)]).numpy())
    if split in NAMED and files is not None:
        _write_json(folder / NAMES, files)
    return Counts(len(marks), (marks > 0).sum(dim=0).tolist(), (marks >= 0).sum(dim=0).tolist())


def _write_chunks(folder: Path, batches: Iterable[Batch], size: int) -> tuple[Tensor, list[int]]:
    """Writes LitData's chunks.

    Args:
        folder: Where to.
        batches: Images and their targets.
        size: Bytes that an image takes.

    Returns:
        The marks of the images, int8 (N, L), and digests of their pixels.
    """
    from litdata.streaming import Cache  # which writes, too

    writer = Cache(str(folder.absolute()), chunk_size=max(1, SHARD_BYTES // size))
    marks: list[Tensor] = []
    digests: list[int] = []
    for images, targets in batches:
        marks.append(targets.nan_to_num(nan=-1).to(torch.int8))
        for index, sample in enumerate(zip(images.flatten(1), marks[-1], strict=True), start=len(digests)):
            writer[index] = sample
        digests.extend(digests_of(images))
    writer.done()
    writer.merge()
    return torch.cat(marks), digests


def _batches(images: LabelledDataset, order: list[int], num_workers: int, split: str) -> Iterator[Batch]:
    """Yields images and their targets in an order; in a terminal, a bar shows the progress."""
    loader = DataLoader(
        dataset=images,
        batch_size=BATCH_SIZE,
        sampler=order,
        num_workers=num_workers if images.is_slow and len(images) > BATCH_SIZE else 0,
        collate_fn=identity_collate,
    )
    yield from tqdm(loader, desc=f"writing {split} images", leave=False, disable=None)


def _write_json(path: Path, content: Any) -> None:
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
