"""How often each label is right and wrong at each of many thresholds."""

from typing import Any

import torch
from torch import Tensor

from multilabel_pl.model.evaluation import Evaluation

POINTS = 500  # of a curve,
FEWEST = 20  # unless there are many labels,
BUDGET = 50_000  # which share these
DECIMALS = 6  # of a threshold that is not the label's own: it can be typed


def threshold_curves(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Counts the tags of each label at thresholds from 0 to 1, its own among them.

    Half of the thresholds are evenly spread, the others are probabilities of positives, where recall changes, rounded
    down.

    Returns:
        For each label its `name`, `thresholds` in rising order and the index of its `own`; `hits`, the true tags at
        each, and `mistaken`, the others; and how many `positives` and `negatives` are known.
    """
    points = max(FEWEST, min(POINTS, BUDGET // len(evaluation.labels)))
    return [_curve(evaluation, label, points) for label in range(len(evaluation.labels))]


def _curve(evaluation: Evaluation, label: int, points: int) -> dict[str, Any]:
    known, own = evaluation.known[:, label], evaluation.thresholds[label]
    probabilities, truth = evaluation.probabilities[known, label], evaluation.truth[known, label]
    positives, negatives = probabilities[truth].sort().values, probabilities[~truth].sort().values
    even = torch.linspace(0, 1, points // 4 * 2 + 1)  # 0.5 among them
    spread = positives[torch.linspace(0, len(positives) - 1, points // 2).long()] if len(positives) else even
    whole = 10**DECIMALS
    typed = torch.cat([(even.double() * whole).round(), (spread.double() * whole).floor()]) / whole
    thresholds = torch.unique(torch.cat([typed.float(), own[None]]))  # in rising order, and in the model's precision
    return {
        "name": evaluation.labels[label],
        "thresholds": _in_few_digits(thresholds),
        "own": int((thresholds == own).nonzero()),
        "hits": count_reaching(positives, thresholds).tolist(),
        "mistaken": count_reaching(negatives, thresholds).tolist(),
        "positives": len(positives),
        "negatives": len(negatives),
    }


def _in_few_digits(thresholds: Tensor) -> list[float]:
    """Returns the shortest decimal numbers that are the same in float32."""
    return [float(text) for text in thresholds.numpy().astype(str)]


def count_reaching(ordered: Tensor, thresholds: Tensor) -> Tensor:
    """Counts the probabilities, in rising order, that reach each threshold."""
    return len(ordered) - torch.searchsorted(ordered, thresholds)
