"""Decoded images on disk, for later runs, epochs and processes."""

import errno
import fcntl
import json
import math
import operator
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress, islice
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from PIL import ImageColor
from torch import Tensor

from multilabel_pl.data.annotations.fingerprints import fingerprint_of
from multilabel_pl.data.check import Findings, decoded_batches, digests_of
from multilabel_pl.data.image_files import BATCH_SIZE, ImageFiles, StoredImages
from multilabel_pl.messages import note
from multilabel_pl.task import Task

VERSION = 1  # of the files; another one when decoding gives other pixels
PIXELS, INDEX, LOCK = "pixels.bin", "index.jsonl", "lock"
RESERVE = 2**28  # bytes that are left free on the disk, for checkpoints, say
CHUNK = 2**26  # bytes of pixels that are written at once; a kill loses no more

State: TypeAlias = tuple[int, int]  # of a file: its bytes, and when it was changed, in nanoseconds


class _Entry(NamedTuple):
    """What the index says of an image."""

    state: State  # of its file when it was decoded
    digest: int  # of its pixels
    fingerprint: int  # of its name and content
    slot: int  # where they are


class _DamageError(OSError):
    """The files of a cache don't fit together."""

    strerror = "it is damaged"


class ImageCache:
    """Decoded images on disk: their pixels in one file, a line for each in another.

    Both files grow, by one process at a time, and a line is written after its pixels. So a process that is killed
    leaves nothing but an incomplete end, which the next one cuts off, and several may add images at once.

    Args:
        folder: Where caches are; that of a task is a folder in it.
        task: How the images are prepared.
    """

    def __init__(self, folder: Path, task: Task) -> None:
        self.shape = task.image_shape
        background = "".join(f"{level:02x}" for level in ImageColor.getrgb(task.background))
        self.folder = folder / f"{task.shape_text}_{background}_v{VERSION}"
        parent = Path(os.path.abspath(folder)).parent  # noqa: PTH100, which Path.absolute is not the same as
        self.root = str(parent / "_")[:-1]  # images below it are known by their paths from it
        self._forget()

    def fill(self, files: ImageFiles, num_workers: int, share: slice = slice(None)) -> Findings | None:
        """Decodes the files that are not in the cache, or have changed, and adds them.

        Once all are there, `files` has them from the cache.

        Args:
            files: The images.
            num_workers: Processes that decode.
            share: Which of the missing files to decode; the rest is left to other processes.

        Returns:
            What was found; None if the cache can't be written, as on a full disk.
        """
        problems: list[str | None] = [None] * len(files)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._refresh()
            found = self._look_up(files.paths)
            if missing := [index for index, (entry, _) in enumerate(found) if entry is None]:
                states = {index: found[index][1] for index in missing[share]}
                problems = self._add(files, states, num_workers)
                found = self._look_up(files.paths)
        except OSError as error:
            note(f"{self.folder} can't keep decoded images: {error.strerror}; they are decoded without it")
            return None
        entries = [entry for entry, _ in found if entry is not None]
        if len(entries) < len(files) or not entries:
            return Findings(problems, [0] * len(files))
        slots = np.array([entry.slot for entry in entries], dtype=np.int64)
        pixels = np.memmap(self.folder / PIXELS, dtype=np.uint8, mode="r", shape=(self.count, *self.shape))
        files.stored = StoredImages(pixels, slots)
        return Findings(problems, [entry.digest for entry in entries], [entry.fingerprint for entry in entries])

    def _add(self, files: ImageFiles, states: Mapping[int, State], num_workers: int) -> list[str | None]:
        """Decodes some files and adds them.

        Args:
            files: The images.
            states: By the index of each file to decode its state before that: if it changes meanwhile, the cache will
                not be taken to have it.
            num_workers: Processes that decode.

        Returns:
            The problem of each file, if any.
        """
        problems: list[str | None] = [None] * len(files)
        batches = decoded_batches(files.subset(list(states)), num_workers)
        at_once = max(1, CHUNK // (BATCH_SIZE * self.bytes_an_image))
        left = iter(states)
        while chunk := list(islice(batches, at_once)):
            texts = [text for batch in chunk for text in batch.problems]
            indices = list(islice(left, len(texts)))
            for index, text in zip(indices, texts, strict=True):
                problems[index] = text
            good = [text is None for text in texts]
            added = [(files.paths[index], states[index]) for index in compress(indices, good)]
            self._append(added, torch.cat([batch.images for batch in chunk])[good])
        return problems

    @property
    def bytes_an_image(self) -> int:
        """The bytes of an image's pixels."""
        return math.prod(self.shape)

    def _look_up(self, paths: Sequence[Path]) -> list[tuple[_Entry | None, State]]:
        """Returns what is in the cache of each file as it is now, and the file's state."""
        found = []
        for path in paths:
            entry, state = self.entries.get(self._key(path)), _state(path)
            found.append((entry if entry is not None and entry.state == state else None, state))
        return found

    def _key(self, path: Path) -> str:
        return str(path).removeprefix(self.root)

    def _forget(self) -> None:
        self.entries: dict[str, _Entry] = {}
        self.count = 0  # images
        self.end = 0  # of what has been read of the index, in bytes
        self.inode: int | None = None  # of the index

    def _refresh(self) -> None:
        """Reads what has been added to the index; a cache that is damaged is begun again."""
        try:
            self._read_lines()
        except _DamageError:
            note(f"{self.folder} is damaged, and is begun again")
            with self._locked():
                for name in (INDEX, PIXELS):
                    (self.folder / name).unlink(missing_ok=True)
            self._forget()

    def _read_lines(self) -> None:
        if not os.path.lexists(self.folder / INDEX):
            self._forget()
            return
        with _open_own(self.folder / INDEX, "rb") as file:
            if os.fstat(file.fileno()).st_ino != self.inode:  # another process has begun it again
                self._forget()
                self.inode = os.fstat(file.fileno()).st_ino
            file.seek(self.end)
            for line in file:
                if not line.endswith(b"\n"):  # it is being written, or was when its writer was killed
                    break
                key, state, digest, fingerprint = _parse(line)
                self.entries[key] = _Entry(state, digest, fingerprint, self.count)
                self.count += 1
                self.end += len(line)
        if _state(self.folder / PIXELS)[0] < self.count * self.bytes_an_image:
            raise _DamageError

    def _append(self, files: Sequence[tuple[Path, State]], images: Tensor) -> None:
        """Adds the images of files, uint8 (N, C, H, W), and what is known of these."""
        lines = [
            json.dumps([self._key(path), *state, digest, fingerprint_of(str(path))]) + "\n"
            for (path, state), digest in zip(files, digests_of(images), strict=True)
        ]
        with self._locked():
            if shutil.disk_usage(self.folder).free < images.numel() + RESERVE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._read_lines()  # others may have added some
            self._write(PIXELS, self.count * self.bytes_an_image, images.contiguous().numpy().data)
            self._write(INDEX, self.end, "".join(lines).encode())
            self._read_lines()

    def _write(self, name: str, start: int, content: bytes | memoryview) -> None:
        with _open_own(self.folder / name, "ab") as file:
            file.truncate(start)  # without what a killed process has left
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Waits until no other process writes; the system releases the lock of one that is killed."""
        with _open_own(self.folder / LOCK, "ab") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            yield


def _open_own(path: Path, mode: Literal["rb", "ab"]) -> BinaryIO:
    """Opens a file, but neither through a link, which could lead anywhere, nor a pipe, which would make us wait."""

    def opener(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)

    return open(path, mode, opener=opener)


def _state(path: Path) -> State:
    """Returns the state of a file, which none has that is missing."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return -1, 0
    return found.st_size, found.st_mtime_ns


def _parse(line: bytes) -> tuple[str, State, int, int]:
    """Returns a file's key and state, the digest of its pixels, and its fingerprint."""
    try:
        key, *numbers = json.loads(line)
        size, modified, digest, fingerprint = map(operator.index, numbers)
    except (ValueError, TypeError, RecursionError):
        raise _DamageError from None
    if not isinstance(key, str):
        raise _DamageError
    return key, (size, modified), digest, fingerprint
