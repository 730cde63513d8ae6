"""Compares `predict` with decoding alone: `python -m benchmarks.predict`, ten minutes.

JPEG files of 640 x 480 pixels are decoded and brought to 224 x 224 by processes on all cores. The network costs next to
nothing, as one on a GPU would; all else is done: batches, rows, their journal. Contenders take turns.
"""

import argparse
import multiprocessing
import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from benchmarks.photos import CORES, PHOTOS, SIZE, decode_photos, take_photos
from benchmarks.printing import table
from benchmarks.turns import Contender, Gate, take_turns
from multilabel_pl import ImageFilesDataModule, MultiLabelClassifier, Task, Trainer

IMAGES = 20_000  # links to fewer files, all of which the system has in memory
LABELS = 100
ALONE = "decoding alone, in as many processes"


class Averages(nn.Module):
    """Sees the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(3, LABELS)
        nn.init.constant_(self.scores.bias, -3.0)  # few tags an image, as usual

    def forward(self, images: Tensor) -> Tensor:
        """Maps uint8 (B, 3, H, W) to scores (B, L)."""
        scores: Tensor = self.scores(images[..., ::8, ::8].float().mean(dim=(2, 3)) / 255)
        return scores


def decode_all(folder: Path, gate: Gate) -> None:
    """A turn decodes all files and throws the results away."""
    paths = sorted(folder.iterdir())
    shares = [paths[core::CORES] for core in range(CORES)]
    with multiprocessing.get_context("fork").Pool(CORES, torch.set_num_threads, (1,)) as pool:
        while True:
            gate()
            pool.map(decode_photos, shares)


def predict_all(folder: Path, suffix: str, gate: Gate) -> None:
    """A turn predicts all files."""
    torch.set_num_threads(1)
    task = Task([f"label {i}" for i in range(LABELS)], (3, SIZE, SIZE))
    model = MultiLabelClassifier(task=task, network=Averages())
    while True:
        gate()
        data = ImageFilesDataModule(str(folder))
        Trainer(logger=False, enable_progress_bar=False).predict(model, datamodule=data, output=f"p{suffix}")


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=IMAGES)
    return parser


def main() -> None:
    """Measures and prints it all."""
    options = parser().parse_args()
    with TemporaryDirectory() as name:
        photos = take_photos(Path(name, "photos"))
        folder = Path(name, "images")
        folder.mkdir()
        for number in range(options.images):
            os.link(photos[number % PHOTOS], folder / f"{number:06}.jpg")
        contenders: dict[str, Contender] = {ALONE: partial(decode_all, folder)}
        for kind, suffix in {"CSV": ".csv", "JSON Lines": ".jsonl", "Parquet": ".parquet"}.items():
            contenders[f"`predict` to {kind}"] = partial(predict_all, folder, suffix)
        seconds = take_turns(contenders, options.rounds)
    rows = [[name, f"{options.images / each:.0f}", f"{seconds[ALONE] / each:.2f}"] for name, each in seconds.items()]
    print(table([f"{options.images:,} JPEG files", "images a second", "times as fast"], rows))


if __name__ == "__main__":
    main()
