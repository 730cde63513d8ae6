"""How often the intervals of `compare` are right: `python -m benchmarks.differences`, five minutes.

Trains three models on MNIST for two epochs, tests them, and compares each pair on test images drawn from the 10,000,
200 times: how often the intervals from these hold the difference on all 10,000. Those of the labels hold if all do at
once. A label's own, at 1.96 standard errors, are counted where ten images or more are tagged differently, and where
fewer are, for which `compare` gives none.
"""

import argparse
import math
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.printing import table
from multilabel_pl.cli.main import main as run
from multilabel_pl.file_names import OUTPUTS
from multilabel_pl.model.comparison import LEADING, Comparison, compare
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.intervals import ENOUGH, NORMAL, decision_estimates
from multilabel_pl.results.outputs import read_outputs

MODELS = {
    "sigmoid": ["--model.head", "sigmoid"],
    "softmax": ["--model.head", "softmax"],
    "conv_stack": ["--model.network", "conv_stack", "--seed_everything", "2"],
}
SIZES = (300, 1000, 3000)
REPEATS = 200
HEADER = ["drawn", *LEADING, "labels", "label, ten differ", "label, fewer"]


def evaluations(root: Path) -> list[Evaluation]:
    """Returns the models' evaluations on the test images; trains what is missing."""
    found = []
    for number, options in enumerate(MODELS.values()):
        folder = root / f"version_{number}"
        if not (folder / "test" / OUTPUTS).is_file():
            run(["fit", *options, "--trainer.max_epochs", "2", "--trainer.default_root_dir", str(root)])
            run(["test", str(folder / "best.ckpt"), "--figures", "false"])
        found.append(read_outputs(folder / "test" / OUTPUTS).evaluation)
    return found


def drawn(evaluation: Evaluation, rows: Tensor) -> Evaluation:
    """Returns the evaluation of some of the images."""
    return Evaluation(evaluation.decision, evaluation.uncalibrated[rows], evaluation.targets[rows], evaluation.loss)


def alone(first: Evaluation, other: Evaluation, label: int) -> tuple[float, float]:
    """Returns the bounds of a label's interval that stands alone, however few images differ."""
    column = slice(label, label + 1)
    before, after = (
        decision_estimates(each.tags[:, column], each.targets[:, column])["f1_macro"] for each in (first, other)
    )
    _, low, high = after.minus(before, NORMAL)
    return low, high


def hits(first: Evaluation, other: Evaluation, whole: Comparison, rows: Tensor) -> list[list[bool]]:
    """Returns whether the intervals from some images hold the difference on all, by column of the table."""
    sides = drawn(first, rows), drawn(other, rows)
    found = compare(*sides)
    held = []
    for name in LEADING:
        has_interval = math.isfinite(found.metrics[name].low)
        held.append([_holds(found.metrics[name][1:], whole.metrics[name].value)] if has_interval else [])
    at_once: list[bool] = []
    enough: list[bool] = []
    fewer: list[bool] = []
    for index, (label, true) in enumerate(zip(found.labels, whole.labels, strict=True)):
        if math.isfinite(label.difference.low):
            at_once.append(_holds(label.difference[1:], true.difference.value))
        if label.images >= ENOUGH:
            differ = label.better + label.worse >= ENOUGH
            (enough if differ else fewer).append(_holds(alone(*sides, index), true.difference.value))
    return [*held, [all(at_once)] if at_once else [], enough, fewer]


def _holds(bounds: tuple[float, ...], value: float) -> bool:
    low, high = bounds
    return low - 1e-9 <= value <= high + 1e-9


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/differences"), help="folder of the runs")
    return parser


def main() -> None:
    """Prints how often intervals are right, all pairs of models together."""
    pairs = list(combinations(evaluations(parser().parse_args().root), 2))
    wholes = [compare(*pair) for pair in pairs]
    rows = []
    for size in SIZES:
        generator = torch.Generator().manual_seed(size)
        counted: list[list[bool]] = [[] for _ in HEADER[1:]]
        for _ in range(REPEATS):
            chosen = torch.randint(len(pairs[0][0].targets), (size,), generator=generator)
            for pair, whole in zip(pairs, wholes, strict=True):
                for column, held in zip(counted, hits(*pair, whole, chosen), strict=True):
                    column += held
        rows.append([f"{size:,}", *(_share(column) for column in counted)])
    print("\n" + table(HEADER, rows))


def _share(held: list[bool]) -> str:
    return f"{100 * sum(held) / len(held):.0f} %" if held else "–"


if __name__ == "__main__":
    main()
