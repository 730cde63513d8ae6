import math

import pytest
import torch
from torch import Tensor

from multilabel_pl.model.guarantees import allowed_misses, least_number, precision_thresholds, recall_thresholds

REDRAWS = 1000


def redraws(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draws probabilities and targets (N, REDRAWS): each column a new draw of the same label."""
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(count, REDRAWS, generator=generator) < 0.3).float()
    return (torch.randn(count, REDRAWS, generator=generator) + 3 * targets - 2).sigmoid(), targets


def normal_above(value: Tensor) -> Tensor:
    """Returns the share of a standard normal distribution above values."""
    return (1 - torch.erf(value / 2**0.5)) / 2


@pytest.mark.parametrize(("share", "risk", "number"), [(0.9, 0.05, 29), (0.95, 0.05, 59), (0.9, 0.01, 44)])
def test_the_least_number_of_images(share: float, risk: float, number: int) -> None:
    assert least_number(share, risk) == number
    assert allowed_misses(torch.tensor([number - 1, number]), share, risk).tolist() == [-1, 0]


def test_as_many_misses_as_the_binomial_distribution_allows() -> None:
    for count in (0, 46, 100, 1000):
        [allowed] = allowed_misses(torch.tensor([count]), 0.9, 0.05).tolist()
        terms = [math.comb(count, i) * 0.1**i * 0.9 ** (count - i) for i in range(allowed + 2)]
        assert sum(terms[:-1]) <= 0.05
        assert count == 0 or sum(terms) > 0.05


def test_a_guaranteed_recall_is_broken_as_rarely_as_promised() -> None:
    for count in (150, 600):
        thresholds, learned, _ = recall_thresholds(*redraws(count, count), recall=0.9, risk=0.05)
        recall = normal_above(thresholds.logit() - 1)
        assert learned.float().mean() > 0.95
        broken = (recall < 0.9).float().mean().item()
        assert 0.01 < broken < 0.07  # 0.05 and what 1,000 redraws may add
        assert recall.mean() < 0.97


def test_a_guaranteed_precision_is_broken_as_rarely_as_promised() -> None:
    thresholds, learned, _ = precision_thresholds(*redraws(1500, 0), precision=0.8, risk=0.05)
    tagged = 0.3 * normal_above(thresholds.logit() - 1), 0.7 * normal_above(thresholds.logit() + 2)
    precision = tagged[0] / (tagged[0] + tagged[1])
    assert learned.float().mean() > 0.95
    assert (precision < 0.8).float().mean() < 0.05
    assert precision[learned].mean() < 0.9


def test_with_too_few_images_the_promise_is_kept_by_everything_or_nothing() -> None:
    probabilities = torch.linspace(0.1, 1, 40)[:, None]
    few, enough = (torch.arange(40)[:, None] >= 40 - number for number in (28, 29))
    assert recall_thresholds(probabilities, few.float(), 0.9, 0.05).thresholds.tolist() == [0]
    thresholds, learned, needed = recall_thresholds(probabilities, enough.float(), 0.9, 0.05)
    assert (thresholds.item(), learned.item(), needed) == (probabilities[11].item(), True, 29)
    for targets in (few, torch.zeros(40, 1)):
        thresholds, learned, needed = precision_thresholds(probabilities, targets.float(), 0.9, 0.05)
        assert not (torch.ones(1) >= thresholds).any()
        assert (learned.item(), needed) == (False, 44)
    wrong = torch.zeros(200, 1)  # there are enough, but none is right
    assert not precision_thresholds(torch.rand(200, 1), wrong, 0.9, 0.05).found


def test_images_with_the_same_score_are_tagged_together() -> None:
    probabilities = torch.tensor([1.0] * 100 + [0.5] * 100)[:, None]
    targets = torch.tensor([1.0] * 100 + [1.0, 0.0] * 50)[:, None]
    assert precision_thresholds(probabilities, targets, 0.9, 0.05).thresholds.tolist() == [1.0]
    assert recall_thresholds(probabilities, targets, 0.9, 0.05).thresholds.tolist() == [0.5]
