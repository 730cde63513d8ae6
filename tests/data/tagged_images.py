"""Image files of digits and a table of their tags, as users have them."""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from PIL import Image

from multilabel_pl.data.mnist import ARCHIVES, LABELS, read_digits
from multilabel_pl.data.scenes import Scenes
from multilabel_pl.model.prediction import name_tags

SIZE = 48  # pixels of an image's height and width


@cache
def _scenes() -> Scenes:
    generator = torch.Generator().manual_seed(0)
    return Scenes(read_digits(ARCHIVES, "test").subset(torch.arange(500)), 100, 2, SIZE, generator)


def write_images(folder: Path, count: int, start: int = 0) -> list[tuple[str, list[str]]]:
    """Writes scenes of up to two digits, at most 100 in all, as PNG files.

    Returns:
        Their paths, relative to the folder, and their tags.
    """
    images, targets = _scenes().__getitems__(list(range(start, start + count)))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for i, (image, tags) in enumerate(zip(images, name_tags(targets.bool(), LABELS), strict=True), start):
        rows.append((f"images/{i:03}.png", tags))
        Image.fromarray(image[0].numpy()).save(folder / rows[-1][0])
    return rows


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def write_tagged(folder: Path, count: int, start: int = 0, name: str = "images.csv") -> str:
    """Writes images, and a table of their paths and tags."""
    rows = write_images(folder, count, start)
    return write_table(folder / name, ["path", "tags"], [[path, "|".join(tags)] for path, tags in rows])
