"""Rules for thresholds, learned from few images and from many: `python -m benchmarks.thresholds`.

Five models are trained once, and their logits kept. Then each rule learns thresholds from 50 to 5,000 validation
images, drawn 20 times from 10,000 that no model was trained on, and is measured on 10,000 test images, which choose
nothing.
Prints a table of each set and what is worse than promised, and draws docs/thresholds.png.

`--guarantees` counts how often precision or recall falls below what a rule promises, in 1,000 redraws of the validation
images: from a synthetic population, where both are known, and from all 20,000 MNIST images that were not trained on.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

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
METRICS = ("macro F1", "macro F1, 10 positives", "micro F1", "exact match", "tags to true tags")
COLORS = dict(zip(RULES, ("black", "tab:blue", "tab:orange", "tab:green", "tab:purple"), strict=True))
PROMISES = ("recall>=0.9", "recall>=0.9@0.95", "precision>=0.9", "precision>=0.9@0.95")

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
    "scenes, weak model": Training(lambda: SceneDataModule(train_size=2000, val_size=POOL), 6),
    "scenes, overfitted model": Training(lambda: SceneDataModule(train_size=1500, val_size=POOL), 40),
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


def shortfalls(results: dict[str, Tensor], size: int) -> Iterator[str]:
    """Says where `f1` is worse than it should be, by more than one standard error over the draws."""
    for other, metric, slack in (
        (HALF, "macro F1", 0.0),
        (HALF, "micro F1", 0.0),
        (HALF, "exact match", 0.01),
        ("f1_exact", "macro F1, 10 positives", 0.0),
        ("f1_exact", "micro F1", 0.0),
        ("f1_exact", "exact match", 0.0),
    ):
        column = METRICS.index(metric)
        difference = (results["f1"] - results[other])[:, column]
        difference = difference[~difference.isnan()]
        if len(difference) < 2:
            continue
        error = difference.std() / len(difference) ** 0.5
        if difference.mean() + slack < -error:
            yield f"{metric} {difference.mean():+.5f} of {other}'s (standard error {error:.5f})"
    tags = results["f1"][:, METRICS.index("tags to true tags")].mean()
    if abs(tags - 1) > (0.15 if size >= 300 else 0.3):
        yield f"{tags:.2f} tags for each true one"


def compare(root: Path) -> None:
    """Measures all rules on all sets, prints and draws."""
    means: dict[str, dict[int, dict[str, Tensor]]] = {}
    for name in TRAININGS:
        found = outputs(name, root)
        print(f"\n### {name}\n\n| images | rule | {' | '.join(METRICS)} |\n|--:|---|{'--:|' * len(METRICS)}")
        means[name], short = {}, []
        for size in SIZES:
            results = resample(found["val"], found["test"], size)
            for rule, values in results.items():
                mean, spread = values.nanmean(dim=0), values.std(dim=0)
                cells = [f"{m:.4f} ± {s:.4f}" for m, s in zip(mean.tolist(), spread.tolist(), strict=True)]
                print(f"| {size} | {rule} | {' | '.join(cells)} |".replace("nan ± nan", "–"))
            means[name][size] = results
            short += [f"{size} images: {text}" for text in shortfalls(results, size)]
        print("\nf1 falls short: " + ("; ".join(short) or "nowhere"))
    draw(means).savefig(FIGURE, dpi=120)
    print(f"\ndrawn in {FIGURE}")


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
    kinds: dict[str, Outputs] = {
        "synthetic": synthetic(100_000, torch.Generator().manual_seed(0)),
        "MNIST": (logits, targets),
    }
    print("\n| images | rule | population | broken, of each label | broken, of any label |\n|--:|---|---|--:|--:|")
    for size, (kind, population), rule in itertools.product((1000, 5000), kinds.items(), PROMISES):
        for text in [rule, f"{rule} jointly"] if "@" in rule else [rule]:
            below = violations(text, population, size, torch.Generator().manual_seed(size))
            each, any_label = below.float().mean(), below.any(dim=1).float().mean()
            print(f"| {size} | `{text}` | {kind} | {each:.3f} | {any_label:.3f} |", flush=True)


def main() -> None:
    """Compares the rules, or checks the guarantees."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/thresholds"), help="folder of the logits")
    parser.add_argument("--guarantees", action="store_true", help="check the guarantees instead")
    options = parser.parse_args()
    check_guarantees(options.root) if options.guarantees else compare(options.root)


if __name__ == "__main__":
    main()
