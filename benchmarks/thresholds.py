"""Rules for thresholds, learned from few images and from many: `python -m benchmarks.thresholds`.

Five models are trained once, and their logits kept. Then each rule learns thresholds from 50 to 5,000 validation
images, drawn 20 times from 10,000 that no model was trained on, and is measured on 10,000 test images, which choose
nothing. Prints tables, the last two for the manual: what the rules reach, and where `f1` is worse than it should be.
Draws docs/thresholds.png.

`--guarantees` counts how often precision or recall falls below what a rule promises, in 1,000 redraws of the validation
images: from a synthetic population, where both are known, and from all 20,000 MNIST images that were not trained on.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.printing import table
from benchmarks.spread import mean_and_spread
from multilabel_pl import MNISTDataModule, MultiLabelClassifier, SceneDataModule
from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.data.mnist import NUM_DIGITS
from multilabel_pl.model.rules import Rule
from multilabel_pl.model.thresholds import learn_thresholds
from multilabel_pl.training.trainer import Trainer

FIGURE = Path(__file__).parent.parent / "docs" / "thresholds.png"
SIZES = (50, 100, 300, 1000, 5000)
DRAWS = 20
POOL = 10_000  # validation images to draw from
REDRAWS = 1000  # of the guarantees
ENOUGH = 10  # positives, from which F1 of a label counts against the exact search
HALF = "0.5"
RULES = (HALF, "f1", "f1_exact", "micro_f1", "exact_match")
METRICS = ("macro F1", "macro F1, 10 positives", "micro F1", "exact match", "tags for a true one")
COLORS = dict(zip(RULES, ("black", "tab:blue", "tab:orange", "tab:green", "tab:purple"), strict=True))
SUMMARY = 300  # validation images of the manual's table
SUMMARY_RULES = RULES[:3]
SUMMARY_METRICS = ("macro F1", "micro F1", "exact match", "tags for a true one")
REDRAWN = (1000, 5000)  # validation images of the guarantees
PROMISES = tuple(
    f"{kind}>=0.9{promise}" for kind in ("recall", "precision") for promise in ("", "@0.95", "@0.95 jointly")
)

Outputs = tuple[Tensor, Tensor]  # logits (N, L) and targets (N, L)


class PairDataModule(SceneDataModule):
    """Scenes that are also tagged with every pair of different digits in them: 45 rare labels more."""

    labels = (*map(str, range(NUM_DIGITS)), *("+".join(pair) for pair in itertools.combinations("0123456789", 2)))

    def _scenes(self, *args: Any, **kwargs: Any) -> Any:
        scenes = super()._scenes(*args, **kwargs)
        digits = scenes.targets[:, :NUM_DIGITS]
        pairs = torch.tensor(list(itertools.combinations(range(NUM_DIGITS), 2)))
        scenes.targets = torch.cat([digits, digits[:, pairs].prod(dim=2)], dim=1)
        return scenes


@dataclass(frozen=True)
class Training:
    """How a model is trained."""

    data: Callable[[], LabelledDataModule]
    epochs: int
    network: str = "conv_stack"
    lr: float = 0.004


TRAININGS = {
    "MNIST": Training(lambda: MNISTDataModule(val_size=POOL), 2, "conv_pool_dense", 0.008),
    "scenes": Training(lambda: SceneDataModule(val_size=POOL, batch_size=128), 4, lr=0.008),
    "scenes, trained too little": Training(lambda: SceneDataModule(train_size=2000, val_size=POOL), 6),
    "scenes, overfitted": Training(lambda: SceneDataModule(train_size=1500, val_size=POOL), 40),
    "pairs of digits": Training(lambda: PairDataModule(train_size=20_000, val_size=POOL, batch_size=128), 5, lr=0.008),
}


def outputs(name: str, root: Path) -> dict[str, Outputs]:
    """Returns a model's outputs on validation and on test images; trains it unless that has been done before."""
    path = root / f"{name}.pt"
    if path.is_file():
        kept: dict[str, Outputs] = torch.load(path)
        return kept
    training = TRAININGS[name]
    seed_everything(0)
    data = training.data()
    model = MultiLabelClassifier(network=training.network, lr=training.lr, lr_schedule="one_cycle", threshold=0.5)
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    Trainer(max_epochs=training.epochs, limit_val_batches=0, **quiet).fit(model, datamodule=data)
    evaluator, found = Trainer(**quiet), {}
    for part, evaluate in (("val", evaluator.validate), ("test", evaluator.test)):
        evaluate(model, datamodule=data, verbose=False)
        assert model.evaluation is not None
        found[part] = (model.evaluation.uncalibrated.clone(), model.evaluation.targets.clone())
    root.mkdir(parents=True, exist_ok=True)
    torch.save(found, path)
    return found


def learned(rule: str, logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the thresholds (L,) of a rule."""
    if rule == HALF:
        return torch.full_like(logits[0], 0.5)
    return learn_thresholds(logits, targets, Rule.parse(rule)).thresholds


def measure(thresholds: Tensor, test: Outputs, positives: Tensor) -> list[float]:
    """Returns the METRICS at thresholds (L,), learned from so many positives (L,)."""
    logits, targets = test
    tags, truth = logits.sigmoid() >= thresholds, targets.bool()
    hits, tagged, true = ((part.sum(dim=0).double()) for part in (tags & truth, tags, truth))
    f1 = 2 * hits / (tagged + true).clamp(min=1)
    macro, enough = (f1[chosen].mean() for chosen in (true > 0, (true > 0) & (positives >= ENOUGH)))
    micro = 2 * hits.sum() / (tagged.sum() + true.sum())
    exact = (tags == truth).all(dim=1).double().mean()
    return torch.stack([macro, enough, micro, exact, tagged.sum() / true.sum()]).tolist()


def resample(val: Outputs, test: Outputs, size: int) -> dict[str, Tensor]:
    """Returns the METRICS of each rule, (DRAWS, metrics), learned from so many validation images."""
    results: dict[str, list[list[float]]] = {rule: [] for rule in RULES}
    for draw in range(DRAWS):
        chosen = torch.randperm(POOL, generator=torch.Generator().manual_seed(draw))[:size]
        logits, targets = (part[chosen] for part in val)
        for rule in RULES:
            results[rule].append(measure(learned(rule, logits, targets), test, targets.sum(dim=0)))
    return {rule: torch.tensor(rows, dtype=torch.float64) for rule, rows in results.items()}


def shortfalls(results: dict[str, Tensor], size: int) -> Iterator[tuple[str, str, str]]:
    """Yields where `f1` is worse than it should be, by more than the standard deviation over the draws.

    Yields:
        The metric, the difference, and what it is a difference to.
    """
    for other, metric, slack in (
        (HALF, "macro F1", 0.0),
        (HALF, "micro F1", 0.0),
        (HALF, "exact match", 0.01),
        ("f1_exact", "macro F1, 10 positives", 0.0),
        ("f1_exact", "micro F1", 0.0),
        ("f1_exact", "exact match", 0.0),
    ):
        column = METRICS.index(metric)
        own, others = (results[rule][:, column] for rule in ("f1", other))
        difference = (own - others)[~(own - others).isnan()]
        if len(difference) < 2:
            continue
        if difference.mean() + slack < -difference.std():
            yield metric, mean_and_spread(difference.tolist()), _named(other)
    tags = results["f1"][:, METRICS.index("tags for a true one")].mean()
    if abs(tags - 1) > (0.15 if size >= SUMMARY else 0.3):
        yield "tags for a true one", f"{tags - 1:.2f}", "1"


def compare(root: Path) -> None:
    """Measures all rules on all sets, prints and draws."""
    results: dict[str, dict[int, dict[str, Tensor]]] = {}
    for name in TRAININGS:
        found = outputs(name, root)
        results[name] = {size: resample(found["val"], found["test"], size) for size in SIZES}
        rows = [
            [f"{size:,}, {_named(rule)}", *_cells(values, METRICS)]
            for size, by_rule in results[name].items()
            for rule, values in by_rule.items()
        ]
        print("\n" + table([f"{name}: images, rule", *METRICS], rows), flush=True)
    print_summary(results)
    print_shortfalls(results)
    draw(results).savefig(FIGURE, dpi=120)
    print(f"\ndrawn in {FIGURE}")


def _named(rule: str) -> str:
    return rule if rule == HALF else f"`{rule}`"


def _cells(values: Tensor, metrics: Sequence[str]) -> list[str]:
    """Lays out metrics over the draws (DRAWS, metrics), without a spread if there is none."""
    columns = [values[:, METRICS.index(metric)] for metric in metrics]
    known = [column[~column.isnan()].tolist() for column in columns]
    return [mean_and_spread(column) if len(column) > 1 else "–" for column in known]


def print_summary(results: dict[str, dict[int, dict[str, Tensor]]]) -> None:
    """Prints what the rules reach from SUMMARY images."""
    rows = [
        [name if rule == HALF else "", _named(rule), *_cells(by_size[SUMMARY][rule], SUMMARY_METRICS)]
        for name, by_size in results.items()
        for rule in SUMMARY_RULES
    ]
    print("\n" + table(["model", "rule", *SUMMARY_METRICS], rows))


def print_shortfalls(results: dict[str, dict[int, dict[str, Tensor]]]) -> None:
    """Prints where `f1` is worse than it should be."""
    rows = [
        [name, f"{size:,}", *shortfall]
        for name, by_size in results.items()
        for size, by_rule in by_size.items()
        for shortfall in shortfalls(by_rule, size)
    ]
    print("\n" + table(["model", "images", "metric of `f1`", "difference", "to"], rows))


def draw(means: dict[str, dict[int, dict[str, Tensor]]]) -> Figure:
    """Draws three metrics of each set (rows of panels) against the number of validation images."""
    shown = ("macro F1", "micro F1", "exact match")
    figure = Figure(figsize=(2.6 * len(means), 7), layout="constrained")
    panels = figure.subplots(len(shown), len(means), sharex=True, squeeze=False)
    for column, (name, by_size) in enumerate(means.items()):
        for row, metric in enumerate(shown):
            _panel(panels[row, column], by_size, METRICS.index(metric))
        panels[0, column].set_title(name, fontsize=10)
        panels[-1, column].set_xlabel("validation images")
    for axes, metric in zip(panels[:, 0], shown, strict=True):
        axes.set_ylabel(metric)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(RULES), frameon=False
    )
    return figure


def _panel(axes: Axes, by_size: dict[int, dict[str, Tensor]], metric: int) -> None:
    sizes = list(by_size)
    for rule in RULES:
        values = torch.stack([results[rule][:, metric] for results in by_size.values()])  # (sizes, DRAWS)
        mean, spread = values.mean(dim=1), values.std(dim=1)
        axes.plot(sizes, mean, ".-", color=COLORS[rule], label=rule, zorder=3 if rule == "f1" else 2)
        if rule in ("f1", "f1_exact"):
            axes.fill_between(sizes, mean - spread, mean + spread, color=COLORS[rule], alpha=0.15, lw=0)
    axes.set_xscale("log")
    axes.spines[["top", "right"]].set_visible(False)


def achieved(rule: str, thresholds: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the precision or recall (L,) of a population at thresholds (L,); 1 without tags."""
    tags, truth = logits.sigmoid() >= thresholds, targets.bool()
    hits, whole = (tags & truth).sum(dim=0), (truth if rule.startswith("recall") else tags).sum(dim=0)
    return (hits / whole).where(whole > 0, 1.0)


def synthetic(count: int, generator: torch.Generator) -> Outputs:
    """Draws a population: one label on a fifth of the images, whose logits overlap with those of the others."""
    targets = (torch.rand(count, 1, generator=generator) < 0.2).float()
    return torch.randn(count, 1, generator=generator) + 4 * targets - 2, targets


def violations(rule: str, population: Outputs, size: int, generator: torch.Generator) -> Tensor:
    """Returns which labels are below the promise in each redraw, bool (REDRAWS, L)."""
    logits, targets = population
    below = []
    for _ in range(REDRAWS):
        chosen = torch.randint(len(logits), (size,), generator=generator)
        thresholds = learned(rule, logits[chosen], targets[chosen])
        below.append(achieved(rule, thresholds, logits, targets) < Rule.parse(rule).minimum)
    return torch.stack(below)


def check_guarantees(root: Path) -> None:
    """Prints how often each promise is broken."""
    mnist = outputs("MNIST", root)
    logits, targets = (torch.cat(parts) for parts in zip(mnist["val"], mnist["test"], strict=True))
    populations = (synthetic(100_000, torch.Generator().manual_seed(0)), (logits, targets))
    rows = []
    for rule in PROMISES:
        broken: list[list[Tensor]] = []
        for size in REDRAWN:
            one, each = (violations(rule, kind, size, torch.Generator().manual_seed(size)) for kind in populations)
            broken.append([one.float().mean(), each.float().mean(), each.any(dim=1).float().mean()])
        shares = zip(*broken, strict=True)
        rows.append([f"`{rule}`", *(" / ".join(f"{share:.3f}" for share in of_sizes) for of_sizes in shares)])
    print("\n" + table(["rule", "synthetic, one label", "MNIST, each label", "MNIST, any label"], rows))


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/thresholds"), help="folder of the logits")
    parser.add_argument("--guarantees", action="store_true", help="check the guarantees instead")
    return parser


def main() -> None:
    """Compares the rules, or checks the guarantees."""
    options = parser().parse_args()
    check_guarantees(options.root) if options.guarantees else compare(options.root)


if __name__ == "__main__":
    main()
