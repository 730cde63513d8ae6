import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from multilabel_pl.model.metrics import EpochOutputs, multilabel_metrics

PROBABILITIES = torch.rand(200, 4, generator=torch.Generator().manual_seed(0))
TARGETS = (torch.rand(200, 4, generator=torch.Generator().manual_seed(1)) < 0.3).float()
THRESHOLDS = torch.tensor([0.2, 0.5, 0.7, 0.9])


def f1(tags: NDArray[np.bool_], targets: NDArray[np.bool_]) -> float:
    return float(2 * (tags & targets).sum() / (tags.sum() + targets.sum()))


def auroc(scores: NDArray[np.float64], targets: NDArray[np.bool_]) -> float:
    """The chance that a positive outranks a negative."""
    return float((scores[targets][:, None] > scores[~targets]).mean())


def average_precision(scores: NDArray[np.float64], targets: NDArray[np.bool_]) -> float:
    """The mean of the precisions at each positive."""
    ranked = targets[np.argsort(-scores)]
    return float((ranked.cumsum() / np.arange(1, len(ranked) + 1))[ranked].mean())


def test_metrics_agree_with_their_definitions() -> None:
    metrics = multilabel_metrics(PROBABILITIES, PROBABILITIES >= THRESHOLDS, TARGETS)
    scores, targets = PROBABILITIES.double().numpy(), TARGETS.bool().numpy()
    tags = scores >= THRESHOLDS.numpy()
    expected = {
        "label_accuracy": (tags == targets).mean(),
        "exact_match": (tags == targets).all(axis=1).mean(),
        "f1_macro": np.mean([f1(tags[:, i], targets[:, i]) for i in range(4)]),
        "f1_micro": f1(tags, targets),
        "map": np.mean([average_precision(scores[:, i], targets[:, i]) for i in range(4)]),
        "auroc": np.mean([auroc(scores[:, i], targets[:, i]) for i in range(4)]),
        "label_accuracy_of_no_tags": (~targets).mean(),
    }
    assert {name: value.item() for name, value in metrics.items()} == pytest.approx(expected, rel=1e-5)


def test_outputs_of_an_epoch_are_complete_and_in_order() -> None:
    outputs = EpochOutputs()
    for part in (slice(0, 150), slice(150, 200)):
        outputs.update(PROBABILITIES[part], TARGETS[part])
    logits, targets = outputs.compute()
    assert torch.equal(logits, PROBABILITIES)
    assert torch.equal(targets, TARGETS)
