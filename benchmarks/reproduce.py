"""Reproduces the tutorial's figures: `python -m benchmarks.reproduce`, six minutes on two idle cores.

Trains the four configurations with their plain defaults, evaluates each on the 10,000 test images, and prints a
Markdown table beside what the tutorial published.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.commands import CONFIGS, fit_and_test
from benchmarks.printing import table
from multilabel_pl import MultiLabelClassifier
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.file_names import BEST
from multilabel_pl.training.runs import find_checkpoint

LOW_THRESHOLD = 0.2  # below the 1/2 that softmax can give to each of two tags
PUBLISHED = {"keras_softmax": ("0.0715", "0.9517"), "keras_sigmoid": ("0.0135", "0.9955")}
NAMES = {
    "keras_softmax": "softmax as Keras ran it",
    "keras_sigmoid": "sigmoid as Keras ran it",
    "softmax": "softmax as intended",
    "sigmoid": "sigmoid as intended",
}
METRICS = {
    "loss": "test_loss",
    "label accuracy": "test_label_accuracy_at_half",
    "exact match": "test_exact_match_at_half",
    f"at {LOW_THRESHOLD}": "exact_match_at_low_threshold",
}


def measure(config: str, root: Path) -> dict[str, float]:
    """Trains and tests a configuration; returns the metrics of `test`, and the exact match at LOW_THRESHOLD."""
    metrics = fit_and_test(root / config, "--config", str(CONFIGS / f"{config}.yaml"))
    return {
        **metrics,
        "exact_match_at_low_threshold": exact_match(find_checkpoint(root / config, BEST), LOW_THRESHOLD),
    }


def exact_match(checkpoint: Path, threshold: float) -> float:
    """Returns the share of test images whose tags are all right at a threshold."""
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    test_set = read_digits(ARCHIVES, "test")
    with torch.inference_mode():
        probabilities = torch.cat([model(images).sigmoid() for images in torch.split(test_set.images, 250)])
    return ((probabilities >= threshold) == test_set.targets.bool()).all(dim=1).float().mean().item()


def row(config: str, metrics: dict[str, float]) -> list[str]:
    """Lays out one configuration as a row of the table."""
    measured = [f"{metrics[name]:.4f}" for name in METRICS.values()]
    return [NAMES[config], *PUBLISHED.get(config, ("–", "–")), *measured]


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/reproduce"), help="folder of the runs")
    return parser


def main() -> None:
    """Trains, evaluates and prints."""
    root = parser().parse_args().root
    results = {config: measure(config, root) for config in NAMES}
    header = ["head and network", "published loss", "published accuracy", *METRICS]
    print("\n" + table(header, [row(config, metrics) for config, metrics in results.items()]))
    floor = results["sigmoid"]["test_label_accuracy_of_no_tags"]
    print(f"\nPredicting no tag at all: label accuracy {floor:.4f}, exact match 0.")


if __name__ == "__main__":
    main()
