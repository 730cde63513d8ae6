"""How long reports take, without figures: `python -m benchmarks.reports`, two minutes."""

import argparse
import statistics
import time

import torch

from benchmarks.printing import table
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.report import all_metrics, report

IMAGES = 10_000
LABELS = (11, 1000, 5000)
TAGS = 1.5  # of an image
REPEATS = 3


def example(labels: int) -> Evaluation:
    """Draws targets, and logits that know something of them."""
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(IMAGES, labels, generator=generator) < TAGS / labels).float()
    logits = torch.randn(IMAGES, labels, generator=generator) + 6 * targets - 4
    decision = Decision([f"label {i}" for i in range(labels)], 0.4, calibrate=False)
    return Evaluation(decision, logits, targets, torch.tensor(0.0))


def seconds(labels: int) -> float:
    """Returns the median time of some reports."""
    taken = []
    for _ in range(REPEATS):
        evaluation = example(labels)
        start = time.perf_counter()
        report(evaluation)
        all_metrics(evaluation)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def parser() -> argparse.ArgumentParser:
    """Returns the options, of which there are none."""
    return argparse.ArgumentParser(description=__doc__)


def main() -> None:
    """Prints the time of each size."""
    parser().parse_args()
    rows = [[f"{labels:,} labels", f"{seconds(labels):.2f}"] for labels in LABELS]
    print("\n" + table([f"a report of {IMAGES:,} images", "seconds"], rows))


if __name__ == "__main__":
    main()
