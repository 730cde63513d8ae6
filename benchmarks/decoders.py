"""Compares libraries that decode JPEG files: `python -m benchmarks.decoders`, five minutes.

Photos of 640 x 480 pixels and of 12 megapixels are read and brought to 224 x 224, on all cores, as the package does it,
but with another library to decode. Contenders take turns. Needs `pip install simplejpeg torchcodec`.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.photos import BATCH, CORES, SIZE, take_photos
from benchmarks.printing import table
from benchmarks.turns import Contender, Gate, take_turns
from multilabel_pl.data.datasets import identity_collate
from multilabel_pl.data.image_files import ImageFiles
from multilabel_pl.images.inputs import load_file
from multilabel_pl.images.preprocessing import prepare, sufficient_size
from multilabel_pl.task import Task

TASK = Task((), (3, SIZE, SIZE))
PHOTOS = {"640 × 480": (640, 480, 512), "4,000 × 3,000": (4000, 3000, 64)}  # width, height and number
OURS = "Pillow, shrinking while it decodes"


def by_pillow(path: Path) -> Tensor:
    """As the package does."""
    return load_file(path, TASK)


def by_simplejpeg(path: Path) -> Tensor:
    """Also shrinks while it decodes, to any eighth of the size."""
    from simplejpeg import decode_jpeg

    least = sufficient_size(TASK) or 0
    pixels = decode_jpeg(path.read_bytes(), min_height=least, min_width=least)
    return prepare(torch.from_numpy(pixels).permute(2, 0, 1), TASK)


def by_torchcodec(path: Path) -> Tensor:
    """Decodes at full size."""
    from torchcodec.decoders import decode_jpeg

    return prepare(decode_jpeg(path), TASK)


def by_torchvision(path: Path) -> Tensor:
    """Decodes at full size."""
    from torchvision.io import ImageReadMode, decode_image

    return prepare(decode_image(str(path), ImageReadMode.RGB), TASK)


DECODERS: dict[str, Callable[[Path], Tensor]] = {
    OURS: by_pillow,
    "simplejpeg": by_simplejpeg,
    "torchcodec": by_torchcodec,
    "torchvision": by_torchvision,
}


class Files(ImageFiles):
    """Image files that are decoded by one of these."""

    def __init__(self, paths: list[Path], decode: Callable[[Path], Tensor]) -> None:
        super().__init__(paths, TASK)
        self.decode = decode

    def _read(self, path: Path) -> tuple[Tensor, str | None]:
        return self.decode(path), None


def decode_all(decode: Callable[[Path], Tensor], width: int, height: int, count: int, gate: Gate) -> None:
    """A turn serves all photos in batches, from workers on all cores, as in an epoch."""
    files = Files(take_photos(Path("photos"), width, height, count), decode)
    loader = DataLoader(files, BATCH, num_workers=CORES, persistent_workers=True, collate_fn=identity_collate)
    while True:
        gate()
        assert sum(len(images) for images, _ in loader) == count


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    return parser


def main() -> None:
    """Measures and prints it all."""
    rounds = parser().parse_args().rounds
    rows = []
    for size, (width, height, count) in PHOTOS.items():
        contenders: dict[str, Contender] = {
            name: partial(decode_all, decode, width, height, count) for name, decode in DECODERS.items()
        }
        seconds = take_turns(contenders, rounds)
        for name, each in seconds.items():
            rows.append([size, name, f"{1000 * each / count:.1f} ms", f"{seconds[OURS] / each:.2f}"])
    print(table(["photos", "decoder", "an image", "times as fast"], rows))


if __name__ == "__main__":
    main()
