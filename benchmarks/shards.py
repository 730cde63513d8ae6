"""Reads images from shards in three orders: `python -m benchmarks.shards`, two minutes.

The images are noise, in shards as `optimize` writes them, of which the system holds nothing in memory when an epoch
begins. The orders take turns.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.printing import table
from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.data.datasets import Batch, LabelledDataset
from multilabel_pl.data.sampler import EpochOrder
from multilabel_pl.data.shard_writer import write_shards
from multilabel_pl.data.shards import Shards
from multilabel_pl.data.streaming import StreamedImages

COUNTS = {64: 60_000, 224: 8000}  # images, by height and width
MOST = 10_000  # images that are read in an order
DIFFERENT = 500
BATCH_SIZE = 64


class Noise(LabelledDataset):
    """Images of noise, of which some hundred differ.

    Args:
        count: How many.
        size: Their height and width.
    """

    def __init__(self, count: int, size: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(256, (DIFFERENT, 3, size, size), dtype=torch.uint8, generator=generator)
        self.targets = torch.zeros(count, 1)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns a ready batch."""
        return self.images[torch.tensor(indices) % DIFFERENT], self.targets[indices]


class NoiseDataModule(LabelledDataModule):
    """Images of noise, for training alone.

    Args:
        count: How many.
        size: Their height and width.
    """

    labels = ("noise",)
    has_test = False

    def __init__(self, count: int, size: int) -> None:
        super().__init__(0)
        self.image_shape = (3, size, size)
        self.count = count

    def setup_training(self) -> None:
        """Makes the images."""
        self.train_set = Noise(self.count, self.image_shape[1])

    def setup_test(self) -> None:
        """There are none."""


def images_a_second(folder: Path, order: Iterable[int]) -> float:
    """Reads images from shards that lie on disk alone."""
    for path in folder.rglob("*.bin"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    images = StreamedImages(Shards.read(folder), "train")
    chosen = list(islice(order, MOST))
    start = time.perf_counter()
    for first in range(0, len(chosen), BATCH_SIZE):
        images.__getitems__(chosen[first : first + BATCH_SIZE])
    return len(chosen) / (time.perf_counter() - start)


def measure(size: int, count: int, rounds: int) -> dict[str, float]:
    """Returns the median of the images a second in each order."""
    with TemporaryDirectory() as place:
        folder = Path(place, "shards")
        write_shards(NoiseDataModule(count, size), folder)
        sizes = Shards.read(folder).sizes("train")
        orders = {
            "of an epoch: four shards at a time": EpochOrder(count, 0, shards=sizes),
            "random over all shards": EpochOrder(count, 0),
            "in which they lie": range(count),
        }
        found: dict[str, list[float]] = {name: [] for name in orders}
        for _ in range(rounds):
            for name, order in orders.items():
                found[name].append(images_a_second(folder, order))
    return {name: statistics.median(each) for name, each in found.items()}


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    return parser


def main() -> None:
    """Measures and prints it all."""
    rounds = parser().parse_args().rounds
    found = {size: measure(size, count, rounds) for size, count in COUNTS.items()}
    header = ["order of images in shards", *(f"{size} x {size}: images a second" for size in found)]
    names = next(iter(found.values()))
    print(table(header, [[name, *(f"{each[name]:,.0f}" for each in found.values())] for name in names]))


if __name__ == "__main__":
    main()
