"""Both heads at their best, on MNIST and on scenes: `python -m benchmarks.heads`, half an hour on two cores.

Each head is trained at several learning rates, with the same number of epochs. The rate, and all thresholds, are chosen
on validation images; test images are measured once. Prints Markdown tables and draws docs/heads.png.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.commands import CONFIGS, fit
from benchmarks.printing import table
from multilabel_pl import MNISTDataModule, MultiLabelClassifier, SceneDataModule
from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.head import HeadName
from multilabel_pl.model.rules import Rule
from multilabel_pl.model.thresholds import learn_thresholds
from multilabel_pl.training.trainer import Trainer

FIGURE = Path(__file__).parent.parent / "docs" / "heads.png"
DATA: dict[str, tuple[str, Callable[[], LabelledDataModule]]] = {
    "MNIST": ("fast.yaml", MNISTDataModule),
    "scenes": ("scenes.yaml", SceneDataModule),
}
RATES = (0.002, 0.004, 0.008)
GRID = torch.linspace(0, 1, 1001)
ONE, BY_F1, BY_F1_EXACT = "one for all labels", "one for each label, by `f1`", "one for each label, by `f1_exact`"
WAYS_BY_COUNT = (ONE, BY_F1, BY_F1_EXACT)
ROUNDS = 3  # of setting each label's threshold


@dataclass(frozen=True)
class Trained:
    """A head that was trained at its best rate, with its outputs on validation and on test images."""

    head: HeadName
    rate: float
    val: Evaluation
    test: Evaluation


def train(data: str, head: HeadName, rate: float, root: Path) -> Trained:
    """Trains one head at one rate, unless that has been done before, and evaluates it."""
    config, module = DATA[data]
    words = ("--config", str(CONFIGS / config), "--model.head", head, "--model.lr", str(rate))
    model = MultiLabelClassifier.load_from_checkpoint(fit(root / data / f"{head}_{rate}", *words))
    trainer = Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False)
    evaluations = []
    for evaluate in (trainer.validate, trainer.test):
        evaluate(model, datamodule=module(), verbose=False)
        assert model.evaluation is not None
        evaluations.append(model.evaluation.cpu())
    return Trained(head, rate, *evaluations)


def exact_match(evaluation: Evaluation, thresholds: Tensor | float) -> Tensor:
    """Returns which images (N,) have all their tags right."""
    return ((evaluation.probabilities >= thresholds) == evaluation.targets.bool()).all(dim=1)


def curve(evaluation: Evaluation) -> Tensor:
    """Returns which images have all their tags right at each threshold of the grid, bool (N, T).

    They have if no false label reaches it, and every true one does.
    """
    truth = evaluation.targets.bool()
    highest_false = evaluation.probabilities.masked_fill(truth, -1).amax(dim=1, keepdim=True)
    lowest_true = evaluation.probabilities.masked_fill(~truth, 2).amin(dim=1, keepdim=True)
    return (highest_false < GRID) & (lowest_true >= GRID)


def best_single_threshold(evaluation: Evaluation) -> float:
    """Returns the one threshold for all labels with the highest exact match."""
    return GRID[curve(evaluation).float().mean(dim=0).argmax()].item()


def best_thresholds(evaluation: Evaluation) -> Tensor:
    """Returns thresholds (L,) for the highest exact match, setting one label's after the other's."""
    probabilities, truth = evaluation.probabilities, evaluation.targets.bool()
    thresholds = torch.full((truth.shape[1],), best_single_threshold(evaluation))
    for label in [*range(len(thresholds))] * ROUNDS:
        right = (probabilities >= thresholds) == truth
        right[:, label] = True
        open_images = right.all(dim=1)  # those that this label decides
        tags = probabilities[open_images, label, None] >= GRID  # (M, T)
        thresholds[label] = GRID[(tags == truth[open_images, label, None]).sum(dim=0).argmax()]
    return thresholds


def best_f1_thresholds(evaluation: Evaluation) -> Tensor:
    """Returns thresholds (L,) for the highest F1 of each label."""
    return learn_thresholds(evaluation.logits, evaluation.targets, Rule("f1_exact")).thresholds


def best_rate(data: str, head: HeadName, root: Path) -> Trained:
    """Trains a head at every rate, and returns what does best at one threshold for all labels."""
    tried = [train(data, head, rate, root) for rate in RATES]
    return max(tried, key=lambda trained: curve(trained.val).float().mean(dim=0).max().item())


def ways(trained: Trained) -> dict[str, Tensor]:
    """Returns which test images (N,) have all their tags right, by each way to choose thresholds."""
    thresholds: dict[str, Tensor | float] = {
        "0.5": 0.5,
        ONE: best_single_threshold(trained.val),
        BY_F1: trained.test.thresholds,
        BY_F1_EXACT: best_f1_thresholds(trained.val),
        "one for each label, by exact match": best_thresholds(trained.val),
    }
    return {way: exact_match(trained.test, values).float() for way, values in thresholds.items()}


def print_by_way(results: dict[str, list[Trained]]) -> None:
    """Prints what each head reaches on all test images."""
    columns = {f"{data}, {trained.head}": ways(trained) for data, heads in results.items() for trained in heads}
    rows = [[way, *(f"{right[way].mean():.4f}" for right in columns.values())] for way in next(iter(columns.values()))]
    print("\n" + table(["threshold", *columns], rows))


def print_by_count(data: str, heads: Sequence[Trained]) -> None:
    """Prints what the heads reach on test images with so many tags."""
    counts = heads[0].test.targets.sum(dim=1)
    numbers = torch.unique(counts).int().tolist()
    rows = [["images", *(str((counts == number).sum().item()) for number in numbers)]]
    for trained in heads:
        right = ways(trained)
        for way in WAYS_BY_COUNT:
            means = (f"{right[way][counts == number].mean():.4f}" for number in numbers)
            rows.append([f"{trained.head}, {way}", *means])
    print("\n" + table([f"{data} with so many tags", *map(str, numbers)], rows))


def draw(results: dict[str, list[Trained]]) -> Figure:
    """Draws exact match against the threshold: a row for each kind of data, a column for each head."""
    figure = Figure(figsize=(9, 3.4 * len(results)), layout="constrained")
    cells = figure.subplots(len(results), len(get_args(HeadName)), sharex=True, sharey=True, squeeze=False)
    for row, (data, heads) in zip(cells, results.items(), strict=True):
        for axes, trained in zip(row, heads, strict=True):
            draw_curves(axes, trained)
            axes.set_title(f"{data}, {trained.head} head")
        row[0].set_ylabel("exact match on test images")
        row[-1].legend(title="tags", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    for axes in cells[-1]:
        axes.set_xlabel("threshold, the same for all labels")
    return figure


def draw_curves(axes: Axes, trained: Trained) -> None:
    """Draws the curve of all images, those by number of tags, and the threshold that validation images chose."""
    right = curve(trained.test).float()  # (N, T)
    counts = trained.test.targets.sum(dim=1)
    for number in torch.unique(counts).int().tolist():
        axes.plot(GRID, right[counts == number].mean(dim=0), color=f"C{number}", lw=1, label=f"{number}")
    axes.plot(GRID, right.mean(dim=0), color="black", lw=2.2, label="any")
    axes.axvline(best_single_threshold(trained.val), color="grey", lw=1, ls=":")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/heads"), help="folder of the runs; what is there stays")
    parser.add_argument("--only", choices=DATA, help="one kind of data alone; draws nothing")
    return parser


def main() -> None:
    """Trains, evaluates, prints and draws."""
    options = parser().parse_args()
    heads: tuple[HeadName, ...] = ("softmax", "sigmoid")
    kinds = [options.only] if options.only else list(DATA)
    results = {data: [best_rate(data, head, options.root) for head in heads] for data in kinds}
    for data, trained in results.items():
        print(f"\n{data}: " + ", ".join(f"{each.head} at a learning rate of {each.rate}" for each in trained))
        print_by_count(data, trained)
    print_by_way(results)
    if not options.only:
        draw(results).savefig(FIGURE, dpi=120)
        print(f"\ndrawn in {FIGURE}")


if __name__ == "__main__":
    main()
