"""Reproduces the tutorial's figures: `python benchmarks/reproduce.py`, six minutes on two idle cores.

Trains the four configurations with their plain defaults, evaluates each on the 10,000 test images, and prints a
Markdown table beside what the tutorial published.
"""

import argparse
import os
from datetime import date
from pathlib import Path

import torch
from commands import fit_and_test

from multilabel_pl import MultiLabelClassifier
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.training.runs import find_checkpoint

LOW_THRESHOLD = 0.2  # below the 1/2 that softmax can give to each of two tags
CONFIGS = Path(__file__).parent.parent / "configs"
PUBLISHED = {"keras_softmax": (0.0715, 0.9517), "keras_sigmoid": (0.0135, 0.9955)}
NAMES = {
    "keras_softmax": "softmax, as Keras ran it",
    "keras_sigmoid": "sigmoid, as Keras ran it",
    "softmax": "softmax, intended network",
    "sigmoid": "sigmoid, intended network",
}


def measure(config: str, root: Path) -> dict[str, float]:
    """Trains and tests a configuration; returns the metrics of `test`, and the exact match at LOW_THRESHOLD."""
    metrics = fit_and_test(CONFIGS / f"{config}.yaml", root / config)
    return {
        **metrics,
        "exact_match_at_low_threshold": exact_match(find_checkpoint(root / config, "best"), LOW_THRESHOLD),
    }


def exact_match(checkpoint: Path, threshold: float) -> float:
    """Returns the share of test images whose tags are all right at a threshold."""
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    test_set = read_digits(ARCHIVES, "test")
    with torch.inference_mode():
        probabilities = torch.cat([model(images).sigmoid() for images in torch.split(test_set.images, 250)])
    return ((probabilities >= threshold) == test_set.targets.bool()).all(dim=1).float().mean().item()


def row(config: str, metrics: dict[str, float]) -> str:
    """Lays out one configuration as a row of the table."""
    loss, accuracy = PUBLISHED.get(config, (None, None))
    published = [f"{value:.4f}" if value is not None else "–" for value in (loss, accuracy)]
    names = ("test_loss", "test_label_accuracy_at_half", "test_exact_match_at_half", "exact_match_at_low_threshold")
    measured = [f"{metrics[name]:.4f}" for name in names]
    return " | ".join(["", NAMES[config], *published, *measured, ""]).strip()


def main() -> None:
    """Trains, evaluates and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, default=Path("runs/reproduce"), help="folder of the runs")
    root: Path = parser.parse_args().root
    results = {config: measure(config, root) for config in NAMES}
    print(f"\nMeasured on {date.today():%Y-%m-%d} on {os.cpu_count()} CPU cores, seed 0:\n")
    columns = ["published loss", "published accuracy", "loss", "label accuracy", "exact match"]
    print(" | ".join(["| head and network", *columns, f"exact match at {LOW_THRESHOLD} |"]))
    print("|---|---|---|---|---|---|---|")
    for config, metrics in results.items():
        print(row(config, metrics))
    floor = results["sigmoid"]["test_label_accuracy_of_no_tags"]
    print(f"\nPredicting no tag at all: label accuracy {floor:.4f}, exact match 0.")


if __name__ == "__main__":
    main()
