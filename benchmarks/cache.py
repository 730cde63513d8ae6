"""Compares an epoch of photos from the cache with one that decodes them: `python -m benchmarks.cache`, ten minutes.

The photos are JPEG files of 640 x 480 pixels, which are brought to 224 x 224. Contenders take turns. It also times how
long 100,000 cached images of 64 x 64 pixels take to open.
"""

import argparse
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from benchmarks.photos import CORES, PHOTOS, cached_photos, cached_photos_on_disk, table_of_photos
from benchmarks.printing import table
from benchmarks.turns import Contender, take_turns
from multilabel_pl.data.cache import ImageCache
from multilabel_pl.data.image_files import ImageFiles
from multilabel_pl.task import Task

CONTENDERS: dict[str, Contender] = {
    "decoded": table_of_photos,
    "cached, in the system's memory": cached_photos,
    "cached, on disk alone": cached_photos_on_disk,
}
FILES = 100_000
DIFFERENT = 200  # files; the others are links to them


def opening(files: int, rounds: int) -> list[float]:
    """Returns the seconds that cached images take to open."""
    task = Task((), (3, 64, 64))
    with TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number:06}.png") for number in range(files)]
        for number, path in enumerate(paths):
            if number < DIFFERENT:
                pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
            else:
                os.link(paths[number % DIFFERENT], path)
        ImageCache(Path(folder, "cache"), task).fill(ImageFiles(paths, task), CORES)
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            ImageCache(Path(folder, "cache"), task).fill(ImageFiles(paths, task), 0)
            seconds.append(time.perf_counter() - start)
    return seconds


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=FILES, help="to open")
    return parser


def main() -> None:
    """Measures and prints it all."""
    options = parser().parse_args()
    seconds = take_turns(CONTENDERS, options.rounds)
    rows = [[name, f"{each:.2f} s", f"{seconds['decoded'] / each:.1f}"] for name, each in seconds.items()]
    print(table([f"{PHOTOS:,} photos", "an epoch", "times as fast"], rows), "\n")
    taken = opening(options.files, options.rounds)
    row = [f"{options.files:,}", f"{statistics.median(taken):.2f} s", f"{min(taken):.2f} to {max(taken):.2f} s"]
    print(table(["cached images", "to open them", "in all rounds"], [row]))


if __name__ == "__main__":
    main()
