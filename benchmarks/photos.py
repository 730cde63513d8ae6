"""Contenders that decode JPEG files on all cores; a turn is a pass over all files."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.turns import Gate
from multilabel_pl.data.datasets import Batch
from multilabel_pl.data.image_files import LabelledFiles
from multilabel_pl.data.table import TableDataModule
from multilabel_pl.images.inputs import load_file
from multilabel_pl.processes import usable_cores
from multilabel_pl.task import Task

PHOTOS = 1000
WIDTH, HEIGHT = 640, 480  # of a photo
SIZE = 224  # of a network's images
CORES = usable_cores()
BATCH = 32


def take_photos(folder: Path, width: int = WIDTH, height: int = HEIGHT, count: int = PHOTOS) -> list[Path]:
    """Writes JPEG files of coloured clouds with some grain, about as large as photos of this size are."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    paths = [folder / f"{i:04}.jpg" for i in range(count)]
    for path in paths:
        clouds = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((width, height))
        grain = rng.normal(0, 6, (height, width, 1))
        Image.fromarray((np.array(clouds) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def write_table() -> None:
    """Writes photos and a table of them."""
    paths = take_photos(Path("photos"))
    lines = [f"photos/{path.name},{'odd' if index % 2 else ''}" for index, path in enumerate(paths)]
    Path("photos.csv").write_text("\n".join(["path,tags", *lines]))


def open_table(cache: bool = False) -> DataLoader[Batch]:
    """Opens that table, and returns what serves its images, none of which is kept in memory."""
    data = TableDataModule(
        "photos.csv", image_size=SIZE, val_size=0, test_size=0, batch_size=BATCH, max_memory=0, cache=cache
    )
    data.setup("fit")
    return data.train_dataloader()


def table_of_photos(gate: Gate) -> None:
    """An epoch over a table whose images don't fit in memory."""
    write_table()
    loader = open_table()
    while True:
        gate()
        assert sum(len(images) for images, _ in loader) == PHOTOS


def cached_photos(gate: Gate) -> None:
    """The same from a cache that the system holds in memory."""
    write_table()
    loader = open_table(cache=True)
    while True:
        gate()
        assert sum(len(images) for images, _ in loader) == PHOTOS


def cached_photos_on_disk(gate: Gate) -> None:
    """The same from a cache of which the system holds nothing in memory."""
    write_table()
    loader = open_table(cache=True)
    assert isinstance(loader.dataset, LabelledFiles)
    assert loader.dataset.files.stored is not None
    stored = loader.dataset.files.stored
    [path] = Path("photos.csv.cache").glob("*/pixels.bin")
    while True:
        # Not by opening the table again, which would count; pages stay in memory as long as they are mapped.
        stored.pixels = np.memmap(path, dtype=np.uint8, mode="r", shape=stored.pixels.shape)
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        gate()
        assert sum(len(images) for images, _ in loader) == PHOTOS


def bare_decoding(gate: Gate) -> None:
    """The same decoding and resizing, the results thrown away: what the cores can do."""
    paths = take_photos(Path("photos"))
    shares = [paths[core::CORES] for core in range(CORES)]
    with multiprocessing.get_context("fork").Pool(CORES, torch.set_num_threads, (1,)) as pool:
        while True:
            gate()
            pool.map(decode_photos, shares)


def decode_photos(paths: list[Path]) -> None:
    """Decodes and resizes photos, and throws the results away."""
    for path in paths:
        load_file(path, Task((), (3, SIZE, SIZE)))


class TextbookFiles(Dataset[Tensor]):
    """Single images, as tutorials have them: Pillow, torchvision's transforms, floats."""

    def __init__(self, paths: list[Path]) -> None:
        from torchvision.transforms import Compose, Resize, ToTensor

        self.paths = paths
        self.transform = Compose([Resize((SIZE, SIZE)), ToTensor()])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            pixels: Tensor = self.transform(image.convert("RGB"))
        return pixels


def textbook_files(gate: Gate) -> None:
    """A DataLoader of single items."""
    data = TextbookFiles(take_photos(Path("photos")))
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=CORES, persistent_workers=True)
    while True:
        gate()
        assert sum(len(images) for images in loader) == PHOTOS
