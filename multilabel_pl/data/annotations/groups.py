"""Images that belong together: a patient's, say, or copies of one another."""

import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path

import torch
from torch import Tensor

from multilabel_pl.errors import InputError
from multilabel_pl.images.decoding import read_image
from multilabel_pl.images.pixels import are_plain


def groups_of(names: Sequence[str], copies: Iterable[Sequence[int]]) -> Tensor | None:
    """Numbers the groups of images. Those that hold copies of one image are one group.

    Args:
        names: The name of each image's group, (N,); empty for none.
        copies: The indices of images that are copies of one another.

    Returns:
        A number for each image, int64 (N,); None if each is a group of its own.
    """
    together = [*_by_name(names), *copies]
    if not together:
        return None
    leaders = list(range(len(names)))  # of each image another of its group, and so on to one that leads itself
    for first, *others in together:
        for other in others:
            leaders[_leader(leaders, other)] = _leader(leaders, first)
    return torch.tensor([_leader(leaders, image) for image in range(len(names))])


def find_copies(files: Sequence[str]) -> list[list[int]]:
    """Finds images of the same content, as `same_content` does, but for those of one colour alone.

    There is nothing to be learned from one of these of another.
    """
    return [indices for indices in same_content(files) if not _is_plain(files[indices[0]])]


def same_content(files: Sequence[str]) -> list[list[int]]:
    """Finds files of the same content; only those of the same size are read.

    Returns:
        The indices of each such set of files, ascending; those that can't be read are in none.
    """
    by_size: dict[int, list[int]] = defaultdict(list)
    links: dict[int, tuple[int, int]] = {}  # what the system knows the content of each by, whatever its name
    for index, file in enumerate(files):
        with suppress(OSError, ValueError):  # it is reported when it is decoded
            found = os.stat(file)  # noqa: PTH116, a million objects would take seconds
            if stat.S_ISREG(found.st_mode):  # from a pipe or a device, reading might never end
                by_size[found.st_size].append(index)
                links[index] = found.st_dev, found.st_ino
    suspects = [index for indices in by_size.values() if len(indices) > 1 for index in indices]
    distinct = {links[index]: files[index] for index in suspects}
    with ThreadPoolExecutor() as pool:
        digests = dict(zip(distinct, pool.map(_digest, distinct.values()), strict=True))
    by_content: dict[bytes | None, list[int]] = defaultdict(list)
    for index in suspects:
        by_content[digests[links[index]]].append(index)
    return [indices for digest, indices in by_content.items() if digest is not None and len(indices) > 1]


def _by_name(names: Sequence[str]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        if name:
            groups[name].append(index)
    return list(groups.values())


def _leader(leaders: list[int], image: int) -> int:
    while leaders[image] != image:
        leaders[image] = image = leaders[leaders[image]]
    return image


def _is_plain(file: str) -> bool:
    with suppress(InputError):
        return bool(are_plain(read_image(Path(file))[None]))
    return True  # unreadable, which is reported of each


def _digest(file: str) -> bytes | None:
    with suppress(OSError), Path(file).open("rb") as content:
        return file_digest(content, "blake2b").digest()
    return None
