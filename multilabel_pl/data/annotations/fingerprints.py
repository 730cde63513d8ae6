"""What a checkpoint knows its images and their tags by, wherever they lie."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from itertools import compress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multilabel_pl.data.annotations.records import UNKNOWN_MARK
from multilabel_pl.messages import note

RECORDED = ("train_images", "train_tags", "val_images", "val_tags")  # in a checkpoint
UNKNOWN_BYTE = 255  # -1 as int8


class Fingerprints:
    """Hashes of images' names and contents, wherever they lie; each is computed once."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def __call__(self, files: Sequence[str]) -> Tensor:
        """Returns one for each file, int64 (N,)."""
        new = [file for file in files if file not in self.known]
        with ThreadPoolExecutor() as pool:
            self.known.update(zip(new, pool.map(fingerprint_of, new), strict=True))
        return torch.tensor([self.known[file] for file in files], dtype=torch.int64)


def tag_fingerprints(names: Sequence[str], marks: Tensor) -> Tensor:
    """Returns a hash of the tags of each image and of its unknown labels, whatever their order, int64 (N,).

    Args:
        names: Those of the labels.
        marks: int8 (N, L): 1 where the image carries the label, -1 where that is unknown, else 0.
    """
    columns = sorted(range(len(names)), key=names.__getitem__)
    labels = [names[column] for column in columns]
    content = marks[:, columns].numpy().tobytes()
    rows = [content[start : start + len(labels)] for start in range(0, len(content), len(labels))]
    known = {row: _of_marks(row, labels) for row in set(rows)}
    return torch.tensor([known[row] for row in rows], dtype=torch.int64)


def _of_marks(row: bytes, labels: Sequence[str]) -> int:
    names = list(compress(labels, row))
    if UNKNOWN_BYTE in row:
        marked = zip(names, filter(None, row), strict=True)
        names = sorted(UNKNOWN_MARK * (mark == UNKNOWN_BYTE) + name for name, mark in marked)
    return _hash("\0".join(names).encode())


def recorded_images(state_dict: Mapping[str, Any], splits: Sequence[str]) -> Tensor:
    """Returns the fingerprints in a checkpoint's state; none in one of an older version, which recorded paths."""
    none = torch.zeros(0, dtype=torch.int64)
    return torch.cat([state_dict.get(f"{split}_images", none) for split in splits])


def note_changes(state_dict: Mapping[str, Any], own: Mapping[str, Tensor]) -> None:
    """Notes how the images with which a run is resumed are not those it was started with.

    Args:
        state_dict: What the checkpoint knows of the data.
        own: The fingerprints of today, by the same names, `RECORDED`.
    """
    for split in ("train", "val"):
        names = (f"{split}_images", f"{split}_tags")
        seen, tags = (state_dict.get(name, torch.zeros(0)) for name in names)
        if not len(seen) == len(tags) > 0:  # in a checkpoint of an older version
            continue
        if found := _changes((seen, tags), (own[names[0]], own[names[1]])):
            note(f"resuming with other {split} images: {', '.join(found)}")


def _changes(then: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor]) -> list[str]:
    """Describes how images or their tags have changed.

    Args:
        then: The fingerprints of the images, int64 (N,), and of their tags, int64 (N,).
        now: The same today, int64 (M,) each.

    Returns:
        What has changed; empty if all is as it was.
    """
    images, tags = now
    tags_then = dict(zip(then[0].tolist(), then[1].tolist(), strict=True))
    pairs = list(zip(images.tolist(), tags.tolist(), strict=True))
    counts = {
        "new or changed": sum(image not in tags_then for image, _ in pairs),
        "gone": len(tags_then.keys() - {image for image, _ in pairs}),
        "with other tags": sum(image in tags_then and tags_then[image] != tag for image, tag in pairs),
    }
    found = [f"{count} {what}" for what, count in counts.items() if count]
    return found or ([] if torch.equal(then[0], images) else ["in another order"])


def fingerprint_of(file: str) -> int:
    """Returns the hash of one image's name and content."""
    content, path = b"", Path(file)
    with suppress(OSError):  # what is missing, or no file but a pipe, is reported when it is decoded
        content = path.read_bytes() if path.is_file() else b""
    return _hash(path.name.encode(errors="surrogatepass") + content)  # names need not be in UTF-8


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), signed=True)
