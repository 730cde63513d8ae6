import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from multilabel_pl.errors import InputError
from multilabel_pl.model.thresholds import Rule, learn_thresholds

# Few different scores, so that many are equal; 0, 1 and two neighbouring floats are among them.
SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, float(np.nextafter(np.float32(0.5), np.float32(1))), 0.9, 1.0])
ITEMS = st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=30)
RULES = st.one_of(
    st.just(Rule("f1")),
    st.builds(Rule, st.sampled_from(["precision", "recall"]), st.sampled_from([0.0, 0.3, 0.5, 0.75, 0.9, 1.0])),
)


def worth(tags: NDArray[np.bool_], truth: NDArray[np.bool_], rule: Rule) -> tuple[float, float] | None:
    """What a rule maximises, and F1 among equals, by the definitions; None if the rule isn't met."""
    hits = float((tags & truth).sum())
    precision, recall = hits / tags.sum(), hits / truth.sum()
    f1 = 2 * hits / (tags.sum() + truth.sum())
    if rule.metric == "f1":
        return f1, f1
    if rule.metric == "precision":
        return (recall, f1) if precision >= rule.minimum else None
    return (precision, f1) if recall >= rule.minimum else None


@settings(deadline=None)  # a busy machine may take its time
@given(ITEMS, RULES)
def test_no_threshold_is_better_than_the_learned_one(items: list[tuple[float, bool]], rule: Rule) -> None:
    scores = np.array([score for score, _ in items], dtype=np.float32)
    truth = np.array([true for _, true in items])
    thresholds, learned = learn_thresholds(torch.tensor(scores)[:, None], torch.tensor(truth)[:, None].float(), rule)
    lowest = np.unique(scores)  # of the images that are tagged: these are all ways to tag any
    worths = [worth(scores >= score, truth, rule) for score in lowest] if truth.any() else []
    met = [value for value in worths if value is not None]
    assert learned.item() == bool(met)
    if not met:
        assert thresholds.item() == 0.5
        return
    threshold = thresholds.numpy()[0]
    assert worth(scores >= threshold, truth, rule) == max(met)
    upper, lower = scores[scores >= threshold].min(), scores[scores < threshold].max(initial=0)
    assert threshold == (upper + lower) / 2 or (threshold == upper == np.nextafter(lower, np.float32(1)))


def test_each_label_has_a_threshold_of_its_own() -> None:
    probabilities = torch.tensor([[0.9, 0.3, 0.2], [0.8, 0.2, 0.6], [0.3, 0.1, 0.4]])
    targets = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    thresholds, learned = learn_thresholds(probabilities, targets, Rule("f1"))
    assert thresholds.tolist() == pytest.approx([0.55, 0.25, 0.5])
    assert learned.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("f1", Rule("f1")),
        ("precision>=0.9", Rule("precision", 0.9)),
        (" recall >= 1 ", Rule("recall", 1.0)),
        ("recall>=.5", Rule("recall", 0.5)),
        ("recall>=9e-1", Rule("recall", 0.9)),
    ],
)
def test_rules_are_read(text: str, rule: Rule) -> None:
    assert Rule.parse(text) == rule


@pytest.mark.parametrize("text", ["", "f2", "precision", "precision>=2", "recall>=-1", "recall>0.5", "recall>=nan"])
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"threshold must be in .*, or f1, precision>=P or recall>=R, .*, got"):
        Rule.parse(text)


@settings(deadline=None)  # a busy machine may take its time
@given(st.text())
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        rule = Rule.parse(text)
    except InputError:
        return
    assert 0 <= rule.minimum <= 1
