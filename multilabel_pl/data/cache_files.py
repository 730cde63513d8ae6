"""The files of a cache: decoded images, and an index of them."""

import errno
import fcntl
import json
import math
import operator
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from multilabel_pl.data.annotations.fingerprints import fingerprint_of
from multilabel_pl.data.check import digests_of
from multilabel_pl.messages import note

PIXELS, INDEX, LOCK = "pixels.bin", "index.jsonl", "lock"
RESERVE = 2**28  # bytes that are left free on the disk, for checkpoints, say

State: TypeAlias = tuple[int, int]  # of a file: its bytes, and when it was changed, in nanoseconds


def state_of(path: Path) -> State:
    """Returns the state of a file, which none has that is missing."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return -1, 0
    return found.st_size, found.st_mtime_ns


class Entry(NamedTuple):
    """What the index says of an image."""

    state: State  # of its file when it was decoded
    digest: int  # of its pixels
    fingerprint: int  # of its name and content
    slot: int  # where they are


class _DamageError(OSError):
    """The files of a cache don't fit together."""

    strerror = "it is damaged"


class CacheFiles:
    """Decoded images: their pixels in one file, a line for each in another.

    Both files grow, by one process at a time, and a line is written after its pixels. So a process that is killed
    leaves nothing but an incomplete end, which the next one cuts off, and several may add images at once.

    Attributes:
        entries: What the index says of each image, as far as it has been read.

    Args:
        folder: Where they are.
        shape: The images', (C, H, W).
        root: Images below this folder are known by their paths from it.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], root: Path) -> None:
        self.folder = folder
        self.shape = shape
        self.root = str(root / "_")[:-1]
        self._forget()

    @property
    def bytes_an_image(self) -> int:
        """The bytes of an image's pixels."""
        return math.prod(self.shape)

    def find(self, path: Path, state: State) -> Entry | None:
        """Returns what is known of a file, if it is in this state."""
        entry = self.entries.get(self._key(path))
        return entry if entry is not None and entry.state == state else None

    def pixels(self) -> NDArray[np.uint8]:
        """Maps the images, uint8 (M, C, H, W)."""
        return np.memmap(self.folder / PIXELS, dtype=np.uint8, mode="r", shape=(self.count, *self.shape))

    def refresh(self) -> None:
        """Reads what has been added to the index; a cache that is damaged is begun again."""
        if not self._is_damaged():
            return
        with self._locked():
            if self._is_damaged():  # else another process has begun it again meanwhile
                note(f"{self.folder} is damaged, and is begun again")
                for name in (INDEX, PIXELS):
                    (self.folder / name).unlink(missing_ok=True)

    def append(self, files: Sequence[tuple[Path, State]], images: Tensor) -> None:
        """Adds the images of files, uint8 (N, C, H, W), and what is known of these."""
        lines = [
            json.dumps([self._key(path), *state, digest, fingerprint_of(str(path))]) + "\n"
            for (path, state), digest in zip(files, digests_of(images), strict=True)
        ]
        with self._locked():
            if shutil.disk_usage(self.folder).free < images.numel() + RESERVE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._read_lines()
            new = [self.find(path, state) is None for path, state in files]  # others may have added some
            self._write(PIXELS, self.count * self.bytes_an_image, images[new].contiguous().numpy().data)
            self._write(INDEX, self.end, "".join(compress(lines, new)).encode())
            self._read_lines()

    def _key(self, path: Path) -> str:
        return str(path).removeprefix(self.root)

    def _forget(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.count = 0  # images
        self.end = 0  # of what has been read of the index, in bytes
        self.inode: int | None = None  # of the index

    def _is_damaged(self) -> bool:
        """Reads what has been added to the index, and forgets all of it if the files don't fit together."""
        try:
            self._read_lines()
        except _DamageError:
            self._forget()
            return True
        return False

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
                self.entries[key] = Entry(state, digest, fingerprint, self.count)
                self.count += 1
                self.end += len(line)
        if state_of(self.folder / PIXELS)[0] < self.count * self.bytes_an_image:
            raise _DamageError

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
