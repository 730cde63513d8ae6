"""How often 95 % intervals are right: `python -m benchmarks.intervals`, two minutes, once `benchmarks.thresholds` ran.

Draws test images, 150 times, from the 10,000 of a model, and counts how often the intervals from these hold the value
of all 10,000: those of reports, and those of a bootstrap over the images, with 400 draws by one matrix product.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.printing import table
from benchmarks.thresholds import outputs
from multilabel_pl.model.intervals import Estimate, Interval, decision_estimates, map_estimate
from multilabel_pl.model.ranking import label_rankings

MODELS = ("MNIST", "scenes, trained too little", "pairs of digits")
SIZES = (100, 300, 1000)
REPEATS, DRAWS = 150, 400
METRICS = {
    "exact_match": "exact match",
    "f1_macro": "macro F1",
    "f1_micro": "micro F1",
    "map": "mean average precision",
}
KINDS = {"report": "the report's", "bootstrap": "a bootstrap's"}


def estimates(scores: Tensor, targets: Tensor) -> dict[str, Estimate]:
    """Returns the METRICS of scores (N, L), at thresholds of 0.5, and targets (N, L)."""
    average_precision, _ = label_rankings(scores, targets)
    return {
        **decision_estimates(scores >= 0.5, targets),
        "map": map_estimate(scores, targets, average_precision),
    }


def bootstrap(scores: Tensor, targets: Tensor, generator: torch.Generator) -> dict[str, Interval]:
    """Returns the METRICS with the 2.5 and 97.5 % quantiles of their values over draws of the images."""
    size = len(scores)
    drawn = torch.randint(size, (DRAWS, size), generator=generator)
    weights = torch.zeros(DRAWS, size).scatter_add_(1, drawn, torch.ones(DRAWS, size))  # times an image is drawn
    tags, truth = scores >= 0.5, targets.bool()
    hits, tagged, true = (weights @ part.float() for part in (tags & truth, tags, truth))  # (DRAWS, L)
    values = {
        "exact_match": weights @ (tags == truth).all(dim=1).float() / size,
        "f1_macro": (2 * hits / (tagged + true)).where(true > 0, torch.nan).nanmean(dim=1),
        "f1_micro": 2 * hits.sum(dim=1) / (tagged.sum(dim=1) + true.sum(dim=1)),
        "map": _drawn_map(weights, scores, truth.float()),
    }
    quantiles = {name: value.quantile(torch.tensor([0.025, 0.975])).tolist() for name, value in values.items()}
    return {name: Interval(values[name].mean().item(), low, high) for name, (low, high) in quantiles.items()}


def _drawn_map(weights: Tensor, scores: Tensor, truth: Tensor) -> Tensor:
    """Returns the mean average precision with each weighting (DRAWS, N) of the images, (DRAWS,)."""
    each = []
    for order, label in zip(scores.argsort(dim=0, descending=True).T, truth.T, strict=True):
        ranked = weights[:, order]
        positive = ranked * label[order]
        reached = positive.cumsum(dim=1)
        each.append((positive * reached / ranked.cumsum(dim=1).clamp(min=1)).sum(dim=1) / reached[:, -1])
    return torch.stack(each).nanmean(dim=0)


def coverage(scores: Tensor, targets: Tensor, size: int) -> dict[str, list[float]]:
    """Returns how often each kind of intervals, from draws of so many images, holds the value of all, by metric."""
    whole = {name: estimate.value.item() for name, estimate in estimates(scores, targets).items()}
    generator = torch.Generator().manual_seed(size)
    kinds: dict[str, Callable[[Tensor, Tensor], dict[str, Interval]]] = {
        "report": lambda s, t: {name: estimate.interval() for name, estimate in estimates(s, t).items()},
        "bootstrap": partial(bootstrap, generator=generator),
    }
    draws = [torch.randint(len(scores), (size,), generator=generator) for _ in range(REPEATS)]
    found = {kind: [make(scores[rows], targets[rows]) for rows in draws] for kind, make in kinds.items()}
    return {kind: [_share_right(each, name, whole[name]) for name in METRICS] for kind, each in found.items()}


def _share_right(found: list[dict[str, Interval]], name: str, value: float) -> float:
    """Returns how many of the intervals that there are hold a value."""
    known = [each[name] for each in found if not math.isnan(each[name].low)]
    return sum(low <= value <= high for _, low, high in known) / len(known) if known else math.nan


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/thresholds"), help="folder of the logits")
    return parser


def main() -> None:
    """Prints how often each kind of intervals is right, at least and at most of the models."""
    root = parser().parse_args().root
    models = [(logits.sigmoid(), targets) for logits, targets in (outputs(name, root)["test"] for name in MODELS)]
    rows = []
    for size in SIZES:
        each = [coverage(*model, size) for model in models]
        for kind, name in KINDS.items():
            shares = zip(*(found[kind] for found in each), strict=True)
            rows.append([f"{name}, {size:,} images", *map(_range, shares)])
    print("\n" + table(["95 % intervals", *METRICS.values()], rows))


def _range(shares: Sequence[float]) -> str:
    """Formats the least and the most of the shares that there are."""
    known = [100 * share for share in shares if not math.isnan(share)]
    return f"{min(known):.0f} to {max(known):.0f} %"


if __name__ == "__main__":
    main()
