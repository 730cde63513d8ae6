"""How long reports take, without figures: `python -m benchmarks.reports`."""

import time

import torch

from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.report import all_metrics, report

SIZES = ((10_000, 11), (10_000, 100), (10_000, 1000), (10_000, 5000))  # images, labels
TAGS = 1.5  # of an image
REPEATS = 3


def example(images: int, labels: int) -> Evaluation:
    """Draws targets, and logits that know something of them."""
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(images, labels, generator=generator) < TAGS / labels).float()
    logits = torch.randn(images, labels, generator=generator) + 6 * targets - 4
    decision = Decision([f"label {i}" for i in range(labels)], 0.4, calibrate=False)
    return Evaluation(decision, logits, targets, torch.tensor(0.0))


def main() -> None:
    """Prints the fastest and the slowest of some runs of each size."""
    print("| images | labels | seconds |\n|--:|--:|--:|")
    for images, labels in SIZES:
        seconds = []
        for _ in range(REPEATS):
            evaluation = example(images, labels)
            start = time.perf_counter()
            report(evaluation)
            all_metrics(evaluation)
            seconds.append(time.perf_counter() - start)
        print(f"| {images:,} | {labels:,} | {min(seconds):.2f} to {max(seconds):.2f} |", flush=True)


if __name__ == "__main__":
    main()
