from typing import Any

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


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_metrics_agree_with_their_definitions(share: float) -> None:
    """On the known decisions of each label, of each image, and of all."""
    known = np.random.default_rng(0).random((200, 4)) <= share
    unknown = torch.from_numpy(~known)
    logits = PROBABILITIES.double().logit().float()
    decision = Decision(list("abcd"), THRESHOLDS.tolist(), calibrate=False)
    metrics = Evaluation(decision, logits, TARGETS.masked_fill(unknown, torch.nan), loss=torch.tensor(0.25)).metrics
    scores, targets = PROBABILITIES.double().numpy(), TARGETS.bool().numpy()

    def by_label(values: NDArray[Any]) -> list[NDArray[Any]]:
        return [values[known[:, i], i] for i in range(4)]

    def by_image(values: NDArray[Any]) -> list[NDArray[Any]]:
        return [values[i, known[i]] for i in range(200) if known[i].any()]

    expected = {
        "loss": 0.25,
        "map": np.mean(list(map(average_precision, by_label(scores), by_label(targets)))),
        "auroc": np.mean(list(map(auroc, by_label(scores), by_label(targets)))),
        "ranking_loss": np.mean(list(map(ranking_loss, by_image(scores), by_image(targets)))),
        "calibration_error": calibration_error(scores[known], targets[known]),
        "label_accuracy_of_no_tags": (~targets[known]).mean(),
    }
    for suffix, tags in (("", scores >= THRESHOLDS.numpy()), ("_at_half", scores >= 0.5)):
        images = list(zip(by_image(tags), by_image(targets), strict=True))
        some = [image for image in images if image[1].any()]  # images with anything to find
        expected[f"label_accuracy{suffix}"] = (tags == targets)[known].mean()
        expected[f"exact_match{suffix}"] = np.mean([(tags == truth).all() for tags, truth in images])
        for metric in (precision, recall, f1):
            name = metric.__name__
            expected[f"{name}_macro{suffix}"] = np.mean(list(map(metric, by_label(tags), by_label(targets))))
            expected[f"{name}_micro{suffix}"] = metric(tags[known], targets[known])
            expected[f"{name}_samples{suffix}"] = np.mean([metric(*image) for image in some])
    assert len(some) < len(images)
    assert (len(images) == 200) == (share == 1)
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


def test_a_label_of_which_nothing_is_known_is_in_no_mean() -> None:
    targets = TARGETS.clone()
    targets[:, 3] = torch.nan
    decisions = (
        Decision(list("abcd"), THRESHOLDS.tolist(), False),
        Decision(list("abc"), THRESHOLDS[:3].tolist(), False),
    )
    logits = PROBABILITIES.logit()
    evaluation = Evaluation(decisions[0], logits, targets, torch.tensor(0.25))
    expected = Evaluation(decisions[1], logits[:, :3], TARGETS[:, :3], torch.tensor(0.25))
    assert [values.isnan().tolist() for values in evaluation.label_rankings] == [[False] * 3 + [True]] * 2
    torch.testing.assert_close(evaluation.metrics, expected.metrics)
    nothing = Evaluation(decisions[0], logits, torch.full_like(targets, torch.nan), torch.tensor(0.0))
    assert all(value.isnan() for name, value in nothing.metrics.items() if name != "loss")
    assert not nothing.wrong.any()


def test_an_evaluation_keeps_the_decision_it_was_made_with() -> None:
    decision = Decision(list("abcd"), 0.5, calibrate=False)
    evaluation = Evaluation(decision, PROBABILITIES.logit(), TARGETS, loss=torch.tensor(0.0))
    decision.configure(0.9)
    assert evaluation.thresholds.tolist() == [0.5] * 4
    assert torch.equal(evaluation.wrong, ((evaluation.probabilities >= 0.5) != TARGETS.bool()).any(dim=1))
    assert evaluation.labels == list("abcd")
    assert evaluation.cpu() is evaluation  # it is there already
