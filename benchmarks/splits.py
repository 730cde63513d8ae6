"""Compares our stratified split with iterative-stratification's: `python -m benchmarks.splits`.

Needs `pip install iterative-stratification`. Tags are drawn, about three an image, the label of rank r with a chance of
0.6 / r; a tenth of the images is set aside. Each figure is the mean over splits with other seeds.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.printing import table
from multilabel_pl.data.split import split_indices, stratified_split

SETS = ((1000, 200), (10_000, 100), (100_000, 50))  # images and labels
SEEDS = 3


def draw_tags(images: int, labels: int) -> Tensor:
    """Returns tags as targets, float32 (images, labels)."""
    chances = 0.6 / torch.arange(1, labels + 1)
    return (torch.rand(images, labels, generator=torch.Generator().manual_seed(0)) < chances).float()


def peer(targets: Tensor, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Splits by iterative-stratification's shuffled split."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    split = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=size, random_state=seed)
    rest, aside = next(split.split(np.zeros(len(targets)), targets.numpy()))
    return torch.from_numpy(rest), torch.from_numpy(aside)


WAYS: dict[str, Callable[[Tensor, int, int], tuple[Tensor, Tensor]]] = {
    "ours": stratified_split,
    "iterative-stratification": peer,
    "at random": lambda targets, size, seed: split_indices(len(targets), size, seed),
}


def measure(way: str, targets: Tensor, seed: int) -> tuple[float, float, float, float]:
    """Returns seconds, images too many, the mean error of labels' shares, and how many labels are on one side alone."""
    size = len(targets) // 10
    start = time.perf_counter()
    rest, aside = WAYS[way](targets, size, seed)
    seconds = time.perf_counter() - start
    counts = targets.sum(0)
    shares = targets[aside].sum(0) / counts.clamp(min=1) * len(targets) / len(aside)
    several = counts > 1
    missing = (targets[rest].sum(0) == 0) | (targets[aside].sum(0) == 0)
    return seconds, len(aside) - size, float((shares[several] - 1).abs().mean()), float((missing & several).sum())


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    return parser


def main() -> None:
    """Measures and prints a table."""
    options = parser().parse_args()
    rows = []
    for images, labels in SETS:
        targets = draw_tags(images, labels)
        for way in WAYS:
            figures = [measure(way, targets, seed) for seed in range(options.seeds)]
            seconds, surplus, error, missing = map(statistics.mean, zip(*figures, strict=True))
            row = [way, f"{seconds:.2f} s", f"{surplus:+.1f}", f"{100 * error:.1f} %", f"{missing:.1f}"]
            rows.append([f"{images:,} × {labels}", *row])
    header = ["images × labels", "split", "time", "images too many", "error of shares", "labels on one side alone"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
