import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.metrics import decision_metrics, ranking_metrics
from multilabel_pl.model.ranking import label_rankings

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
    decision = Decision(list("abcd"), THRESHOLDS.tolist(), calibrate=False)
    metrics = Evaluation(decision, logits, TARGETS, loss=torch.tensor(0.25)).metrics
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
        some = targets.any(axis=1)  # images with anything to find
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


@pytest.mark.parametrize("found", [False, True])
def test_means_are_of_what_has_something_to_find(found: bool) -> None:
    """Whatever is found elsewhere, so that means at different thresholds can be compared."""
    truth = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, 0]])
    tags = torch.tensor([[True, False, False], [True, False, False], [False, found, False]])
    metrics = decision_metrics(tags, truth)
    means = {name: value.item() for name, value in metrics.items() if name.endswith(("macro", "samples"))}
    assert means == dict.fromkeys(means, 1.0)
    assert len(means) == 6
    nothing = decision_metrics(torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, 3))
    assert nothing["exact_match"] == 1
    assert nothing["f1_macro"].isnan()


def test_rankings_are_not_defined_for_labels_without_positives_or_negatives() -> None:
    targets = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    probabilities = torch.tensor([[0.9, 0.1, 0.8], [0.2, 0.3, 0.7]])
    average_precision, auroc = label_rankings(probabilities, targets)
    assert average_precision[[0, 2]].tolist() == [1, 1]
    assert auroc[0] == 1
    assert torch.cat([average_precision, auroc]).isnan().tolist() == [False, True, False, False, True, True]
    metrics = ranking_metrics(probabilities, targets, average_precision, auroc)
    assert (metrics["map"].item(), metrics["auroc"].item()) == (1, 1)


def test_an_evaluation_keeps_the_decision_it_was_made_with() -> None:
    decision = Decision(list("abcd"), 0.5, calibrate=False)
    evaluation = Evaluation(decision, PROBABILITIES.logit(), TARGETS, loss=torch.tensor(0.0))
    decision.configure(0.9)
    assert evaluation.thresholds.tolist() == [0.5] * 4
    assert torch.equal(evaluation.wrong, ((evaluation.probabilities >= 0.5) != TARGETS.bool()).any(dim=1))
    assert evaluation.labels == list("abcd")
    assert evaluation.cpu() is evaluation  # it is there already
