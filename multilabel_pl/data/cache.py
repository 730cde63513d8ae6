"""Decoded images on disk, for later runs, epochs and processes."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, compress, islice
from pathlib import Path
from random import SystemRandom

import numpy as np
import torch
from PIL import ImageColor
from torch.utils.data import Sampler

from multilabel_pl.data.cache_files import CacheFiles, State, state_of
from multilabel_pl.data.check import Findings, decoded_batches
from multilabel_pl.data.image_files import BATCH_SIZE, ImageFiles, StoredImages
from multilabel_pl.data.paths import absolute
from multilabel_pl.messages import note
from multilabel_pl.task import Task

VERSION = 1  # of the files; another one when decoding gives other pixels
CHUNK = 2**23  # bytes of pixels that are written at once: a kill, or two processes at the same images, lose no more


class ImageCache:
    """Decoded images on disk, which several processes may fill at once.

    Args:
        folder: Where caches are; that of a task is a folder in it.
        task: How the images are prepared.
    """

    def __init__(self, folder: Path, task: Task) -> None:
        background = "".join(f"{level:02x}" for level in ImageColor.getrgb(task.background))
        own = folder / f"{task.shape_text}_{background}_v{VERSION}"
        self.files = CacheFiles(own, task.image_shape, absolute(folder).parent)

    def fill(self, images: ImageFiles, num_workers: int) -> Findings | None:
        """Decodes the files that are not in the cache, or have changed, and adds them; `images` are then read there.

        Other processes that do the same at the same time share the work.

        Args:
            images: The files.
            num_workers: Processes that decode.

        Returns:
            What was found; None if the cache can't be used, as on a full disk.
        """
        problems: list[str | None] = [None] * len(images)
        try:
            self.files.folder.mkdir(parents=True, exist_ok=True)
            self.files.refresh()
            states = list(map(state_of, images.paths))
            found = list(map(self.files.find, images.paths, states))
            if None in found:
                missing = {index: states[index] for index, entry in enumerate(found) if entry is None}
                problems = self._add(images, missing, num_workers)
                found = list(map(self.files.find, images.paths, states))
        except OSError as error:
            note(f"{self.files.folder} can't keep decoded images: {error.strerror}; they are decoded without it")
            return None
        if any(problems) or not found:
            return Findings(problems, [0] * len(images))
        entries = [entry for entry in found if entry is not None]
        if len(entries) < len(images):
            note(f"{self.files.folder} was emptied by another process; images are decoded without it")
            return None
        slots = np.array([entry.slot for entry in entries], dtype=np.int64)
        images.stored = StoredImages(self.files.pixels(), slots)
        return Findings(problems, [entry.digest for entry in entries], [entry.fingerprint for entry in entries])

    def _add(self, images: ImageFiles, states: Mapping[int, State], num_workers: int) -> list[str | None]:
        """Decodes some files and adds them.

        Args:
            images: The files.
            states: By the index of each file to decode its state before that: if it changes meanwhile, the cache will
                not be taken to have it.
            num_workers: Processes that decode.

        Returns:
            The problem of each file, if any.
        """
        problems: list[str | None] = [None] * len(images)
        at_once = max(1, CHUNK // (BATCH_SIZE * self.files.bytes_an_image))
        order = _Missing(self.files, images.paths, states, at_once * BATCH_SIZE)
        batches = decoded_batches(images, num_workers, order)
        while chunk := list(islice(batches, at_once)):
            texts = [text for batch in chunk for text in batch.problems]
            indices = [order.decoding.popleft() for _ in texts]
            for index, text in zip(indices, texts, strict=True):
                problems[index] = text
            good = [text is None for text in texts]
            added = [(images.paths[index], states[index]) for index in compress(indices, good)]
            self.files.append(added, torch.cat([batch.images for batch in chunk])[good])
        return problems


class _Missing(Sampler[int]):
    """Serves the images that are still missing, in parts of consecutive ones, each process in another order of these.

    So those that fill a cache at the same time share the work, without knowing of each other.

    Args:
        files: Where they are missing.
        paths: All images.
        states: By the index of each that is missing its state.
        part: How many to serve in order.

    Attributes:
        decoding: What has been served, until it is taken from here.
    """

    def __init__(self, files: CacheFiles, paths: Sequence[Path], states: Mapping[int, State], part: int) -> None:
        self.files = files
        self.paths = paths
        self.states = states
        self.part = part
        self.decoding: deque[int] = deque()

    def __len__(self) -> int:
        return len(self.states)

    def __iter__(self) -> Iterator[int]:
        indices = list(self.states)
        parts = [indices[start : start + self.part] for start in range(0, len(indices), self.part)]
        SystemRandom().shuffle(parts)
        for index in chain.from_iterable(parts):
            if self.files.find(self.paths[index], self.states[index]) is None:
                self.decoding.append(index)
                yield index
