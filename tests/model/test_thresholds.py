import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from multilabel_pl.model.calibration import fit_calibration
from multilabel_pl.model.exact_match import exact_match_thresholds
from multilabel_pl.model.rules import Best, Rule
from multilabel_pl.model.thresholds import learn_thresholds, search
from tests.model.scattered import scattered

# Few different scores, so that many are equal; 0, 1 and two neighbouring floats are among them.
SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, float(np.nextafter(np.float32(0.5), np.float32(1))), 0.9, 1.0])
ITEMS = st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=30)
RULES = st.one_of(
    st.just(Rule("f1_exact")),
    st.builds(Rule, st.sampled_from(["precision", "recall"]), st.sampled_from([0.0, 0.3, 0.5, 0.75, 0.9, 1.0])),
)


def worth(tags: NDArray[np.bool_], truth: NDArray[np.bool_], rule: Rule) -> tuple[float, float] | None:
    """What a rule maximises, and F1 among equals, by the definitions; None if the rule isn't met."""
    hits = float((tags & truth).sum())
    precision, recall = hits / tags.sum(), hits / truth.sum()
    f1 = 2 * hits / (tags.sum() + truth.sum())
    if rule.metric == "f1_exact":
        return f1, f1
    if rule.metric == "precision":
        return (recall, f1) if precision >= rule.minimum else None
    return (precision, f1) if recall >= rule.minimum else None


@settings(deadline=None)  # a busy machine may take its time
@given(ITEMS, RULES)
def test_no_threshold_is_better_than_the_learned_one(items: list[tuple[float, bool]], rule: Rule) -> None:
    scores = np.array([score for score, _ in items], dtype=np.float32)
    truth = np.array([true for _, true in items])
    learned = search(torch.tensor(scores)[:, None], torch.tensor(truth)[:, None].float(), rule)
    lowest = np.unique(scores)  # of the images that are tagged: these are all ways to tag any
    worths = [worth(scores >= score, truth, rule) for score in lowest] if truth.any() else []
    met = [value for value in worths if value is not None]
    assert learned.found.item() == bool(met)
    if not met:
        assert learned.thresholds.item() == 0.5
        return
    threshold = learned.thresholds.numpy()[0]
    assert worth(scores >= threshold, truth, rule) == max(met)
    upper, lower = scores[scores >= threshold].min(), scores[scores < threshold].max(initial=0)
    assert threshold == (upper + lower) / 2 or (threshold == upper == np.nextafter(lower, np.float32(1)))


def test_each_label_has_a_threshold_of_its_own() -> None:
    probabilities = torch.tensor([[0.9, 0.3, 0.2], [0.8, 0.2, 0.6], [0.3, 0.1, 0.4]])
    targets = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    learned = learn_thresholds(probabilities.logit(), targets, Rule("f1_exact"))
    assert learned.thresholds.tolist() == pytest.approx([0.55, 0.25, 0.5])
    assert learned.found.tolist() == [True, True, False]


def test_micro_f1_is_the_best_single_threshold_of_all_decisions() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(50, 4, generator=generator)
    targets = (torch.rand(50, 4, generator=generator) < probabilities).float()
    learned = learn_thresholds(probabilities.logit(), targets, Rule("micro_f1"))
    assert (learned.thresholds == learned.thresholds[0]).all()

    def micro_f1(threshold: float) -> float:
        tags = probabilities >= threshold
        return 2 * (tags * targets).sum().item() / (tags.sum() + targets.sum()).item()

    assert micro_f1(learned.thresholds[0].item()) == max(map(micro_f1, probabilities.flatten().tolist()))


@pytest.mark.parametrize(
    "rule",
    ["f1", "f1_exact", "micro_f1", "precision>=0.6", "recall>=0.8", "recall>=0.7@0.9", "precision>=0.5@0.9 jointly"],
)
def test_each_threshold_is_learned_from_what_is_known_of_its_label(rule: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(150, 4, generator=generator) * 2
    targets = (torch.rand(150, 4, generator=generator) < logits.sigmoid()).float()
    expected = learn_thresholds(logits, targets, Rule.parse(rule))
    learned = learn_thresholds(*scattered(logits, targets, 500), Rule.parse(rule))
    assert expected.found.all()
    torch.testing.assert_close(learned.thresholds, expected.thresholds, rtol=1e-3, atol=1e-3)
    assert torch.equal(learned.found, expected.found)
    assert learned.needed == expected.needed


@pytest.mark.parametrize("rule", ["f1", "f1_exact", "micro_f1", "exact_match", "recall>=0.7@0.9", "precision>=0.5@0.9"])
def test_a_label_of_which_nothing_is_known_has_what_one_without_positives_has(rule: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(150, 3, generator=generator) * 2
    targets = (torch.rand(150, 3, generator=generator) < logits.sigmoid()).float()
    unknown, without = targets.clone(), targets.clone()
    unknown[:, 0], without[:, 0] = torch.nan, 0
    learned, expected = (learn_thresholds(logits, some, Rule.parse(rule)) for some in (unknown, without))
    assert torch.equal(learned.found, expected.found)
    if rule in ("f1_exact", "recall>=0.7@0.9", "precision>=0.5@0.9"):  # not learned from all labels together
        assert torch.equal(learned.thresholds, expected.thresholds)
    assert ((learned.thresholds >= 0) & learned.thresholds.isfinite()).all()
    nothing = learn_thresholds(logits, torch.full_like(logits, torch.nan), Rule.parse(rule))
    assert not nothing.found.any()


def test_images_count_for_exact_match_by_what_is_known_of_them() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 5, generator=generator) * 2 - 1
    targets = (torch.rand(500, 5, generator=generator) < logits.sigmoid()).float()
    targets = targets.where(torch.rand(500, 5, generator=generator) < 0.5, torch.nan)
    shifted = logits - 1.5

    def right(thresholds: Tensor | float) -> int:
        wrong = torch.where(shifted.sigmoid() >= thresholds, targets == 0, targets == 1)
        return int((~wrong.any(dim=1)).sum())

    learned = exact_match_thresholds(shifted, targets)
    line = fit_calibration(shifted, targets)
    common = [line.inverse(torch.full((5,), cut)).sigmoid() for cut in torch.linspace(-3, 3, 61).tolist()]
    assert right(learned) >= max(map(right, common)) - 2  # but for rounding
    assert right(learned) > right(0.5) + 25
    more = torch.cat([shifted, shifted + 3]), torch.cat([targets, torch.full_like(targets, torch.nan)])
    assert right(exact_match_thresholds(*more)) == pytest.approx(right(learned), abs=2)


@pytest.mark.parametrize("metric", ["f1", "micro_f1", "exact_match"])
def test_without_any_positive_thresholds_stay_at_half(metric: Best) -> None:
    learned = learn_thresholds(torch.randn(5, 3), torch.zeros(5, 3), Rule(metric))
    assert (learned.thresholds.tolist(), learned.found.tolist()) == ([0.5] * 3, [False] * 3)


def test_exact_match_has_more_images_right_than_half() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 5, generator=generator) * 2 - 1
    targets = (torch.rand(500, 5, generator=generator) < logits.sigmoid()).float()
    shifted = logits - 1.5  # as by a loss that weighs negatives more
    learned = learn_thresholds(shifted, targets, Rule("exact_match"))

    def exact_match(thresholds: Tensor | float) -> float:
        return ((shifted.sigmoid() >= thresholds) == targets.bool()).all(dim=1).float().mean().item()

    assert exact_match(learned.thresholds) > exact_match(0.5) + 0.05
