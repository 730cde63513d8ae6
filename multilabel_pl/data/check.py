"""The check of image files: all are decoded once, and what can't be read is found out before anything is done."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from multilabel_pl.data.datasets import identity_collate
from multilabel_pl.data.image_files import BATCH_SIZE, FileBatch, ImageFiles
from multilabel_pl.images.pixels import are_plain


class Findings(NamedTuple):
    """What is found out about files by decoding them once.

    Attributes:
        problems: The problem of each file, if any.
        digests: What the pixels of each are known by, as `digests_of` computes it.
        fingerprints: What each file is known by in a checkpoint, if that was found out as well.
    """

    problems: list[str | None]
    digests: list[int]
    fingerprints: Sequence[int] = ()


def decoded_batches(files: ImageFiles, num_workers: int, order: Sampler[int] | None = None) -> Iterator[FileBatch]:
    """Decodes files, in worker processes if they are many; in a terminal, a bar shows the progress.

    Args:
        files: The files.
        num_workers: Processes.
        order: Which to decode, in this order; all in theirs if not given.

    Yields:
        The files in order.
    """
    workers = num_workers if len(files) > BATCH_SIZE else 0
    loader = DataLoader(
        dataset=files,
        batch_size=BATCH_SIZE,
        sampler=order,
        num_workers=workers,
        collate_fn=identity_collate,
        generator=torch.Generator(),  # else it would draw from the one that the weights are drawn from
    )
    yield from tqdm(loader, desc="decoding images", leave=False, disable=None)


def read_all(files: ImageFiles, num_workers: int, images: Tensor | None = None) -> Findings:
    """Decodes all files as `decoded_batches` does.

    Args:
        files: The files.
        num_workers: Processes.
        images: Where to put the images, uint8 (N, C, H, W); nowhere if not given.
    """
    found = Findings([], [])
    for batch in decoded_batches(files, num_workers):
        if images is not None:
            images[len(found.problems) : len(found.problems) + len(batch.images)] = batch.images
        found.problems.extend(batch.problems)
        found.digests.extend(digests_of(batch.images))
    return found


def digests_of(images: Tensor) -> list[int]:
    """Returns what the pixels of images, uint8 (N, C, H, W), are known by: 0 for one of a single colour."""
    plain = are_plain(images).tolist()
    hashes = (blake2b(image.tobytes(), digest_size=8).digest() for image in images.numpy())
    return [0 if alike else int.from_bytes(each, signed=True) for alike, each in zip(plain, hashes, strict=True)]
