import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from multilabel_pl.model.rules import Best, Rule
from multilabel_pl.model.thresholds import learn_thresholds, search

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
