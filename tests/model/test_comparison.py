import math

import pytest
import torch
from torch import Tensor

from multilabel_pl.model.comparison import LEADING, compare, in_order
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.intervals import NORMAL, errors_at_once
from multilabel_pl.model.metrics import decision_metrics, precision_recall_f1
from multilabel_pl.model.ranking import label_rankings
from tests.results.compared import an_evaluation

LABELS = ["cat", "dog", "owl"]
FIRST, OTHER = an_evaluation(LABELS, seed=1), an_evaluation(LABELS, seed=2, skill=4)
DRAWN = torch.randint(len(FIRST.targets), (1000, len(FIRST.targets)), generator=torch.Generator().manual_seed(3))


def bootstrap(values: Tensor) -> list[float]:
    """Returns the bounds of an interval over draws of the images, and its width."""
    low, high = values.double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return [low, high]


def metrics(evaluation: Evaluation, rows: Tensor) -> Tensor:
    """Returns the leading metrics of some images."""
    targets = evaluation.targets[rows]
    average_precision, _ = label_rankings(evaluation.probabilities[rows], targets)
    found = {**decision_metrics(evaluation.tags[rows], targets), "map": average_precision.mean()}
    return torch.stack([found[name] for name in LEADING])


@pytest.mark.slow
def test_intervals_are_those_of_a_paired_bootstrap() -> None:
    draws = torch.stack([metrics(OTHER, rows) - metrics(FIRST, rows) for rows in DRAWN])
    differences = compare(FIRST, OTHER).metrics
    for name, values in zip(LEADING, draws.T, strict=True):
        found, (low, high) = differences[name], bootstrap(values)
        assert found.value == pytest.approx((OTHER.metrics[name] - FIRST.metrics[name]).item(), abs=1e-6), name
        assert [found.low, found.high] == pytest.approx([low, high], abs=0.1 * (high - low)), name


def test_intervals_of_labels_are_those_of_a_paired_bootstrap_but_for_holding_at_once() -> None:
    def f1(evaluation: Evaluation, rows: Tensor) -> Tensor:
        return precision_recall_f1(evaluation.tags[rows], evaluation.targets[rows], dim=0)["f1"]

    values = torch.stack([f1(OTHER, rows) - f1(FIRST, rows) for rows in DRAWN])
    wider = errors_at_once(len(LABELS)) / NORMAL
    for label, draws in zip(compare(FIRST, OTHER).labels, values.T, strict=True):
        low, high = bootstrap(draws)
        width = (label.difference.high - label.difference.low) / wider
        assert width == pytest.approx(high - low, rel=0.15)
        assert label.difference.value == pytest.approx(label.f1[1] - label.f1[0], abs=1e-6)


def test_intervals_at_once_are_bonferronis() -> None:
    assert errors_at_once(1) == pytest.approx(1.96, abs=1e-3)
    assert errors_at_once(11) == pytest.approx(2.838, abs=1e-3)


def test_it_counts_the_images_that_one_alone_decides_rightly() -> None:
    right = FIRST.tags == FIRST.truth, OTHER.tags == OTHER.truth
    better, worse = (right[1] & ~right[0]).sum(dim=0), (right[0] & ~right[1]).sum(dim=0)
    found = compare(FIRST, OTHER).labels
    assert [(label.better, label.worse) for label in found] == list(zip(better.tolist(), worse.tolist(), strict=True))


def test_a_run_does_not_differ_from_itself() -> None:
    found = compare(FIRST, FIRST)
    assert [interval.value for interval in found.metrics.values()] == [0] * len(LEADING)
    assert found.metrics["map"] == (0, 0, 0)
    assert all(math.isnan(label.difference.low) for label in found.labels)


def test_few_images_that_carry_a_label_or_differ_give_no_interval() -> None:
    truth = (torch.arange(200)[:, None] < torch.tensor([100, 100, 9, 0])).float()
    first = 2 * truth - 1
    other = first.clone()
    other[:9, 0] *= -1  # nine wrong tags
    other[:30, 1] *= -1
    other[:30, 2] *= -1
    sides = [
        Evaluation(Decision([*LABELS, "none"], 0.5, False), logits, truth, torch.tensor(0.0))
        for logits in (first, other)
    ]
    cat, dog, owl, none = compare(*sides).labels
    assert [math.isfinite(label.difference.low) for label in (cat, dog, owl, none)] == [False, True, False, False]
    assert dog.difference.high < 0
    assert cat.worse == 9
    assert all(map(math.isnan, none.difference))


def test_images_that_both_tag_wrong_say_nothing_of_exact_match() -> None:
    truth = (torch.arange(200)[:, None] < torch.tensor([100, 100, 100])).float()
    first = 2 * truth - 1
    first[:30, 0] *= -1  # wrong in both
    other = first.clone()
    other[:30, 1] *= -1
    sides = [Evaluation(Decision(LABELS, 0.5, False), logits, truth, torch.tensor(0.0)) for logits in (first, other)]
    metrics = compare(*sides).metrics
    assert [metrics["exact_match"].value, metrics["exact_match"].low] == pytest.approx([0, math.nan], nan_ok=True)
    assert metrics["f1_macro"].high < 0


def test_unknown_decisions_take_no_part() -> None:
    sides = [an_evaluation(LABELS, seed) for seed in (1, 2)]
    known = compare(*sides)
    unknown = torch.full((50, 3), torch.nan)
    more = []
    for side, logits in zip(sides, (torch.ones(50, 3), -torch.ones(50, 3)), strict=True):
        parts = torch.cat([side.logits, logits]), torch.cat([side.targets, unknown])
        more.append(Evaluation(side.decision, *parts, side.loss))
    for name, interval in compare(*more).metrics.items():
        assert tuple(interval) == pytest.approx(tuple(known.metrics[name]), abs=1e-6), name
    assert [label[:2] for label in compare(*more).labels] == [label[:2] for label in known.labels]


def test_labels_in_another_order_are_the_same_evaluation() -> None:
    turned = in_order(in_order(OTHER, ["owl", "cat", "dog"]), LABELS)
    assert torch.equal(turned.probabilities, OTHER.probabilities)
    assert torch.equal(turned.targets, OTHER.targets)
