import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from multilabel_pl.model.evaluation import Evaluation

PROBABILITIES = torch.rand(200, 4, generator=torch.Generator().manual_seed(0))
TARGETS = (torch.rand(200, 4, generator=torch.Generator().manual_seed(1)) < 0.3).float()
THRESHOLDS = torch.tensor([0.2, 0.5, 0.7, 0.9])


def f1(tags: NDArray[np.bool_], targets: NDArray[np.bool_]) -> float:
    return float(2 * (tags & targets).sum() / (tags.sum() + targets.sum()))


def precision(tags: NDArray[np.bool_], targets: NDArray[np.bool_]) -> float:
    return float((tags & targets).sum() / max(tags.sum(), 1))


def recall(tags: NDArray[np.bool_], targets: NDArray[np.bool_]) -> float:
    return precision(targets, tags)


def auroc(scores: NDArray[np.float64], targets: NDArray[np.bool_]) -> float:
    """The chance that a positive outranks a negative."""
    return float((scores[targets][:, None] > scores[~targets]).mean())


def average_precision(scores: NDArray[np.float64], targets: NDArray[np.bool_]) -> float:
    """The mean of the precisions at each positive."""
    ranked = targets[np.argsort(-scores)]
    return float((ranked.cumsum() / np.arange(1, len(ranked) + 1))[ranked].mean())


def ranking_loss(scores: NDArray[np.float64], targets: NDArray[np.bool_]) -> float:
    """The share of pairs of a true and a false label that are in the wrong order."""
    if targets.all() or not targets.any():
        return 0.0
    return float((scores[targets][:, None] <= scores[~targets]).mean())


def calibration_error(scores: NDArray[np.float64], targets: NDArray[np.bool_]) -> float:
    """The mean difference of probability and share of positives over 15 bins, by the number of decisions in each."""
    bins = np.minimum((scores * 15).astype(int), 14)
    gaps = [abs((scores[bins == i] - targets[bins == i]).sum()) for i in range(15)]
    return float(np.sum(gaps) / len(scores))


def test_metrics_agree_with_their_definitions() -> None:
    logits = PROBABILITIES.double().logit().float()
    metrics = Evaluation(list("abcd"), THRESHOLDS, logits, TARGETS, loss=torch.tensor(0.25)).metrics
    scores, targets = PROBABILITIES.double().numpy(), TARGETS.bool().numpy()
    expected = {
        "loss": 0.25,
        "map": np.mean([average_precision(scores[:, i], targets[:, i]) for i in range(4)]),
        "auroc": np.mean([auroc(scores[:, i], targets[:, i]) for i in range(4)]),
        "ranking_loss": np.mean([ranking_loss(*pair) for pair in zip(scores, targets, strict=True)]),
        "calibration_error": calibration_error(scores.ravel(), targets.ravel()),
        "label_accuracy_of_no_tags": (~targets).mean(),
    }
    for suffix, tags in (("", scores >= THRESHOLDS.numpy()), ("_at_half", scores >= 0.5)):
        some = (tags | targets).any(axis=1)  # images with anything to find or found
        expected[f"label_accuracy{suffix}"] = (tags == targets).mean()
        expected[f"exact_match{suffix}"] = (tags == targets).all(axis=1).mean()
        for metric in (precision, recall, f1):
            name = metric.__name__
            expected[f"{name}_macro{suffix}"] = np.mean([metric(tags[:, i], targets[:, i]) for i in range(4)])
            expected[f"{name}_micro{suffix}"] = metric(tags, targets)
            rows = zip(tags[some], targets[some], strict=True)
            expected[f"{name}_samples{suffix}"] = np.mean([metric(*row) for row in rows])
    assert not some.all()
    assert {name: value.item() for name, value in metrics.items()} == pytest.approx(expected, rel=1e-5)
