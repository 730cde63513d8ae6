"""Opening the images of a table: each is decoded once, for the first time at least, and kept where there is room."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch

from multilabel_pl.data.annotations.records import Annotations, Problem
from multilabel_pl.data.cache import ImageCache
from multilabel_pl.data.check import Findings, read_all
from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.data.image_files import ImageFiles, LabelledFiles
from multilabel_pl.images.decoding import SUFFIXES
from multilabel_pl.messages import warn
from multilabel_pl.task import Task

TableImages: TypeAlias = LabelledImages | LabelledFiles


class Opened(NamedTuple):
    """Images of a table, decoded once.

    Attributes:
        part: Where they are from.
        images: The images.
        found: What was found out about them.
    """

    part: Annotations
    images: TableImages
    found: Findings

    @property
    def problems(self) -> list[Problem]:
        """Those of the images that can't be read."""
        texts = enumerate(self.found.problems)
        return [
            self.part.problem(index, text + _hint(self.part.files[index])) for index, text in texts if text is not None
        ]

    def without(self, indices: Sequence[int]) -> "Opened":
        """Leaves some images out."""
        left_out = set(indices)
        rest = [index for index in range(len(self.part)) if index not in left_out]
        problems, digests, _ = self.found
        found = Findings([problems[index] for index in rest], [digests[index] for index in rest])
        return Opened(self.part.take(torch.tensor(rest, dtype=torch.int64)), self.images.subset(rest), found)


def _hint(file: str) -> str:
    """Names the file that a path without its ending may stand for."""
    endings = [suffix for suffix in SUFFIXES if os.path.isfile(file + suffix)]  # noqa: PTH113, which can't fail
    return f"; there is {Path(file).name}{endings[0]}: give names with their endings" if endings else ""


@dataclass
class Opener:
    """Opens images.

    Attributes:
        decoding: How they are prepared.
        max_pixels: A file that has more is not decoded.
        num_workers: Processes that decode.
        cache: Where decoded images are kept on disk, if they are.
    """

    decoding: Task
    max_pixels: int
    num_workers: int
    cache: ImageCache | None = None

    def __call__(self, part: Annotations, in_memory: bool = False) -> Opened:
        """Decodes images once.

        Args:
            part: The images.
            in_memory: Whether to keep them in memory, if there is no cache.
        """
        files = ImageFiles(list(map(Path, part.files)), self.decoding, self.max_pixels)
        if self.cache is not None:
            if (found := self.cache.fill(files, self.num_workers)) is not None:
                return Opened(part, LabelledFiles(files, part.targets), found)
            self.cache = None
        if not in_memory:
            return Opened(part, LabelledFiles(files, part.targets), read_all(files, self.num_workers))
        images = torch.empty(len(part), *self.decoding.image_shape, dtype=torch.uint8)
        found = read_all(files, self.num_workers, images)
        return Opened(part, LabelledImages(images, part.targets, files.paths), found)


def without_twins(opened: dict[str, Opened]) -> dict[str, Opened]:
    """Leaves images out that are those of an earlier split in other files, such as one saved in another format.

    Args:
        opened: Images by split, the test images first.
    """
    first: dict[int, str] = {}
    kept = {}
    for split, own in opened.items():
        twins = {index: first[digest] for index, digest in enumerate(own.found.digests) if digest in first}
        if twins:
            index, twin = next(iter(twins.items()))
            example = f"{Path(own.part.files[index]).name}, which is {twin}"
            warn(f"{len(twins)} {split} images are left out, as they are those of another split, such as {example}")
            own = own.without(list(twins))
        first |= {d: f"{Path(f).name} ({split})" for d, f in zip(own.found.digests, own.part.files, strict=True) if d}
        kept[split] = own
    return kept
