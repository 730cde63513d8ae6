"""How often 95 % intervals are right: `python benchmarks/intervals.py`, two minutes, once `benchmarks.thresholds` ran.

Draws test images, 150 times, from the 10,000 of a model, and counts how often the intervals from these hold the value
of all 10,000: those of reports, and those of a bootstrap over the images, with 400 draws by one matrix product.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from thresholds import outputs
from torch import Tensor

from multilabel_pl.model.intervals import Estimate, Interval, decision_estimates, map_estimate
from multilabel_pl.model.ranking import label_rankings

MODELS = ("MNIST", "scenes, weak model", "pairs of digits")
SIZES = (100, 300, 1000)
REPEATS, DRAWS = 150, 400
METRICS = ("exact_match", "f1_macro", "f1_micro", "map")


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


def main() -> None:
    """Prints how often each interval is right, and its width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/thresholds"), help="folder of the logits")
    root = parser.parse_args().root
    print(f"| model | images | of | {' | '.join(METRICS)} |\n|---|--:|---|{'--:|' * len(METRICS)}")
    for model in MODELS:
        logits, targets = outputs(model, root)["test"]
        scores = logits.sigmoid()
        whole = {name: estimate.value.item() for name, estimate in estimates(scores, targets).items()}
        for size in SIZES:
            generator = torch.Generator().manual_seed(size)
            kinds: dict[str, Callable[[Tensor, Tensor], dict[str, Interval]]] = {
                "report": lambda s, t: {name: estimate.interval() for name, estimate in estimates(s, t).items()},
                "bootstrap": partial(bootstrap, generator=generator),
            }
            draws = [torch.randint(len(scores), (size,), generator=generator) for _ in range(REPEATS)]
            for kind, intervals in kinds.items():
                found = [intervals(scores[rows], targets[rows]) for rows in draws]
                print(f"| {model} | {size:,} | {kind} | {' | '.join(_summary(found, whole))} |", flush=True)


def _summary(found: list[dict[str, Interval]], whole: dict[str, float]) -> list[str]:
    """Returns how often each interval that there is holds the value of the whole, and how wide it is in the mean."""
    cells = []
    for name in METRICS:
        known = [intervals[name] for intervals in found if intervals[name].low == intervals[name].low]  # not NaN
        right = sum(low <= whole[name] <= high for _, low, high in known)
        width = sum(high - low for _, low, high in known) / max(len(known), 1)
        cells.append(f"{right / len(known):.2f} of {len(known)}, {width:.4f}" if known else "none")
    return cells


if __name__ == "__main__":
    main()
