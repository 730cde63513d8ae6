import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from multilabel_pl.model.intervals import Estimate, Interval, decision_estimates, map_estimate, wilson
from multilabel_pl.model.metrics import decision_metrics
from multilabel_pl.model.ranking import label_rankings

SIZE, DRAWS = 400, 1000
TARGETS = (torch.rand(SIZE, 6, generator=torch.Generator().manual_seed(1)) < 0.2).float()
SCORES = torch.rand(SIZE, 6, generator=torch.Generator().manual_seed(2)) / 2 + TARGETS / 3
DRAWN = torch.randint(SIZE, (DRAWS, SIZE), generator=torch.Generator().manual_seed(3))


def estimates(threshold: float = 0.5) -> dict[str, Estimate]:
    average_precision, _ = label_rankings(SCORES, TARGETS)
    return {
        **decision_estimates(threshold <= SCORES, TARGETS),
        "map": map_estimate(SCORES, TARGETS, average_precision),
    }


def metrics(scores: Tensor, targets: Tensor) -> dict[str, Tensor]:
    return {**decision_metrics(scores >= 0.5, targets), "map": label_rankings(scores, targets)[0].mean()}


Metrics = Callable[[Tensor, Tensor], dict[str, Tensor]]


def bootstrap(measure: Metrics, names: Sequence[str], targets: Tensor = TARGETS) -> dict[str, Interval]:
    """Returns the intervals of metrics over draws of the images."""
    drawn = [measure(SCORES[rows], targets[rows]) for rows in DRAWN]
    values = {name: torch.stack([each[name] for each in drawn]).double() for name in names}
    bounds = torch.tensor([0.025, 0.975], dtype=torch.float64)
    whole = measure(SCORES, targets)
    return {name: Interval(whole[name].item(), *values[name].quantile(bounds).tolist()) for name in names}


def test_intervals_are_those_of_a_bootstrap() -> None:
    for name, drawn in bootstrap(metrics, ["exact_match", "f1_macro", "f1_micro", "map"]).items():
        interval = estimates()[name].interval()
        width = drawn.high - drawn.low
        assert interval.value == pytest.approx(drawn.value, rel=1e-5), name
        assert interval.high - interval.low == pytest.approx(width, rel=0.1), name
        assert [interval.low, interval.high] == pytest.approx([drawn.low, drawn.high], abs=0.15 * width), name


@pytest.mark.slow
def test_intervals_of_what_is_known_are_those_of_a_bootstrap() -> None:
    known = torch.rand(SIZE, 6, generator=torch.Generator().manual_seed(4)) < 0.4
    targets = TARGETS.where(known, torch.nan)
    assert not known.any(dim=1).all()
    found = {
        **decision_estimates(SCORES >= 0.5, targets),
        "map": map_estimate(SCORES, targets, label_rankings(SCORES, targets)[0]),
    }
    for name, drawn in bootstrap(metrics, ["exact_match", "f1_macro", "map"], targets).items():
        interval = found[name].interval()
        width = drawn.high - drawn.low
        assert interval.value == pytest.approx(drawn.value, rel=1e-5), name
        assert [interval.low, interval.high] == pytest.approx([drawn.low, drawn.high], abs=0.2 * width), name


@pytest.mark.slow
def test_the_interval_of_a_difference_is_that_of_a_bootstrap() -> None:
    ours, other = estimates(0.4)["f1_micro"], estimates()["f1_micro"]
    difference = ours.minus(other)

    def gain(scores: Tensor, targets: Tensor) -> dict[str, Tensor]:
        low, half = (decision_metrics(scores >= threshold, targets)["f1_micro"] for threshold in (0.4, 0.5))
        return {"gain": low - half}

    drawn = bootstrap(gain, ["gain"])["gain"]
    assert tuple(difference) == pytest.approx(tuple(drawn), abs=0.1 * (drawn.high - drawn.low))
    assert ours.minus(ours) == Interval(0, 0, 0)


def test_shares_have_wilsons_interval() -> None:
    """Its bounds are the shares from which the one found is 1.96 standard errors away."""
    share, count = 0.3, 50
    for bound in (value.item() for value in wilson(torch.tensor(share), torch.tensor(count))):
        assert abs(share - bound) == pytest.approx(1.96 * math.sqrt(bound * (1 - bound) / count), rel=1e-4)
    right = torch.arange(count) < share * count
    tags = right[:, None].expand(-1, 2)
    interval = decision_estimates(tags, torch.ones(count, 2))["exact_match"].interval()
    assert interval == pytest.approx(
        (share, *(bound.item() for bound in wilson(torch.tensor(share), torch.tensor(count))))
    )


def test_what_is_perfect_on_few_images_may_not_be_on_others() -> None:
    for name, estimate in decision_estimates(torch.ones(20, 2, dtype=torch.bool), torch.ones(20, 2)).items():
        interval = estimate.interval()
        assert (interval.value, interval.high) == pytest.approx((1, 1)), name
        assert interval.low == pytest.approx(1 / (1 + 1.96**2 / 20), rel=1e-4)  # of 20 out of 20


def test_what_is_perfect_on_a_rare_label_may_not_be_on_others() -> None:
    targets = (torch.arange(10_000) < 10).float()[:, None]
    average_precision, _ = label_rankings(targets, targets)
    found = {**decision_estimates(targets > 0, targets), "map": map_estimate(targets, targets, average_precision)}
    for name in ("f1_macro", "f1_micro", "map"):
        assert found[name].interval().low == pytest.approx(1 / (1 + 1.96**2 / 10), rel=1e-4), name  # of 10 out of 10
    assert found["exact_match"].interval().low > 0.999


def test_images_of_which_nothing_is_known_say_nothing_about_the_spread() -> None:
    tags, targets = torch.ones(20, 2, dtype=torch.bool), torch.ones(20, 2)
    more = torch.cat([tags, ~tags]), torch.cat([targets, torch.full((20, 2), torch.nan)])
    expected = {name: estimate.interval() for name, estimate in decision_estimates(tags, targets).items()}
    assert {name: estimate.interval() for name, estimate in decision_estimates(*more).items()} == expected


def test_without_positives_there_is_no_interval() -> None:
    nothing = torch.zeros(5, 2)
    average_precision, _ = label_rankings(SCORES[:5, :2], nothing)
    found = {
        **decision_estimates(nothing > 0, nothing),
        "map": map_estimate(SCORES[:5, :2], nothing, average_precision),
    }
    for name in ("f1_macro", "f1_micro", "map"):
        assert all(map(math.isnan, found[name].interval()))
