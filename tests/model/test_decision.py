import pytest
import torch
from torch import Tensor

from multilabel_pl.errors import InputError
from multilabel_pl.model.calibration import cross_entropy, fit_calibration
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.rules import Rule, Threshold
from multilabel_pl.model.thresholds import learn_thresholds
from tests.model.scattered import scattered

LABELS = ["cat", "dog", "owl"]


def validation(count: int = 400) -> tuple[Tensor, Tensor]:
    """Draws logits (N, 3) that are twice too large, and the targets that they predict."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, 3, generator=generator)
    return 2 * logits, (torch.rand(count, 3, generator=generator) < logits.sigmoid()).float()


def test_its_state_is_four_buffers_of_a_checkpoint() -> None:
    decision = Decision(LABELS, [0.1, 0.2, 0.3], calibrate=False)
    state = decision.state_dict()
    assert list(state) == ["slopes", "offsets", "thresholds", "positives"]
    assert state["slopes"].tolist() == [1, 1, 1]
    assert state["offsets"].tolist() == [0, 0, 0]
    assert state["thresholds"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert list(decision.parameters()) == []
    other = Decision(LABELS, "f1", calibrate=True)
    other.load_state_dict(state)
    assert torch.equal(other.thresholds, decision.thresholds)


def test_a_tag_is_a_calibrated_probability_that_reaches_the_threshold() -> None:
    decision = Decision(LABELS, [0.25, 0.5, 0.75], calibrate=False)
    decision.slopes.copy_(torch.tensor([1.0, 2.0, 0.5]))
    decision.offsets.copy_(torch.tensor([0.0, -1.0, 0.25]))
    logits = torch.tensor([[1.0, 1.0, 1.0], [-2.0, 0.5, 2.0]])
    torch.testing.assert_close(decision(logits), torch.tensor([[1.0, 1.0, 0.75], [-2.0, 0.0, 1.25]]))
    assert decision.tags(torch.tensor([[0.25, 0.4, 0.75], [0.2, 0.5, 0.7]])).tolist() == [
        [True, False, True],
        [False, True, False],
    ]


def test_fitting_calibrates_first_and_then_learns_thresholds() -> None:
    logits, targets = validation()
    decision = Decision(LABELS, "recall>=0.9", calibrate=True)
    assert decision.thresholds.tolist() == [0.5] * 3
    decision.fit(logits, targets)
    line = fit_calibration(logits, targets)
    assert torch.equal(decision.slopes, line.slopes)
    assert torch.equal(decision.offsets, line.offsets)
    assert decision.slopes.tolist() == pytest.approx([0.5] * 3, abs=0.15)
    expected = learn_thresholds(line(logits), targets, Rule("recall", 0.9)).thresholds
    assert torch.equal(decision.thresholds, expected)
    assert decision.positives.tolist() == targets.sum(dim=0).tolist()
    assert decision.notes == []
    decision.fit(logits, targets)  # from uncalibrated logits, whatever was fitted before
    assert torch.equal(decision.slopes, line.slopes)


def test_fitting_without_calibration_removes_an_earlier_one() -> None:
    logits, targets = validation()
    decision = Decision(LABELS, "f1", calibrate=True)
    decision.fit(logits, targets)
    decision.configure(calibrate=False)
    assert (decision.slopes != 1).all()  # until it is fitted
    decision.fit(logits, targets)
    assert decision.slopes.tolist() == [1] * 3
    assert decision.offsets.tolist() == [0] * 3
    expected = learn_thresholds(logits, targets, Rule("f1")).thresholds
    assert torch.equal(decision.thresholds, expected)


@pytest.mark.parametrize(("threshold", "expected"), [(0.25, [0.25] * 3), ([0.0, 0.5, 1.0], [0.0, 0.5, 1.0])])
def test_numbers_hold_at_once_and_are_not_learned(threshold: Threshold, expected: list[float]) -> None:
    decision = Decision(LABELS, "f1", calibrate=False)
    decision.configure(threshold)
    assert decision.thresholds.tolist() == expected
    decision.fit(*validation())
    assert decision.thresholds.tolist() == expected
    assert decision.notes == []


def test_what_is_not_asked_for_stays_as_it_is() -> None:
    decision = Decision(LABELS, "f1", calibrate=True)
    decision.fit(*validation())
    before = {name: value.clone() for name, value in decision.state_dict().items()}
    decision.configure()
    decision.configure("precision>=0.8")  # thresholds follow with the next fit
    assert all(torch.equal(value, before[name]) for name, value in decision.state_dict().items())
    assert (decision.threshold, decision.rule, decision.calibrate) == ("precision>=0.8", Rule("precision", 0.8), True)
    decision.fit(*validation())
    assert not torch.equal(decision.thresholds, before["thresholds"])


def test_in_half_precision_it_stays_as_it_is() -> None:
    decision = Decision(LABELS, "recall>=0.9@0.95", calibrate=True)
    decision.fit(*validation())
    before = {name: value.clone() for name, value in decision.state_dict().items()}
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        decision.to(dtype)
        assert all(torch.equal(value, before[name]) for name, value in decision.state_dict().items())


def test_nothing_is_promised_of_thresholds_that_another_rule_has_learned() -> None:
    decision = Decision(LABELS, "recall>=0.9@0.95", calibrate=False)
    decision.fit(*validation())
    decision.restored("recall>=0.9@0.95")
    assert decision.promise is not None
    decision.configure("recall>=0.8@0.95")
    assert decision.promise is None
    decision.fit(*validation())
    assert decision.promise is not None
    decision.restored("f1")
    assert decision.promise is None


def test_labels_of_which_little_is_known_are_named() -> None:
    logits, targets = validation()
    targets[:, 0] = 0
    targets[4:, 1] = 0
    decision = Decision(LABELS, "f1_exact", calibrate=True)
    decision.fit(logits, targets)
    few = f"few positives to learn a threshold from: dog ({int(targets[:, 1].sum())})"
    assert decision.notes[:2] == ["no threshold learned by f1_exact for cat (0): using 0.5", few]
    assert decision.thresholds[0].item() == 0.5
    decision.configure("f1")
    decision.fit(logits, targets)
    assert decision.notes[0] == few.replace("from: ", "from: cat (0), ")
    decision.configure("precision>=1")
    decision.fit(torch.zeros(14, 3), torch.tensor([[1.0, 1, 1], [0, 0, 0]]).repeat(7, 1))
    assert decision.notes == ["no threshold learned by precision>=1 for cat (7), dog (7), owl (7): using 0.5"]


def test_a_decision_is_fitted_by_what_is_known() -> None:
    logits, targets = validation()
    decision, expected = (Decision(LABELS, "recall>=0.8", calibrate=True) for _ in range(2))
    decision.fit(*scattered(logits, targets, 2 * len(targets)))
    expected.fit(logits, targets)
    assert torch.equal(decision.positives, expected.positives)
    torch.testing.assert_close(decision.state_dict(), expected.state_dict(), rtol=1e-3, atol=1e-3)
    targets[:, 0] = torch.nan
    decision.fit(logits, targets)
    assert decision.notes == ["no threshold learned by recall>=0.8 for cat (0): using 0.5"]
    assert (decision.slopes[0].item(), decision.offsets[0].item(), decision.thresholds[0].item()) == (1, 0, 0.5)


def test_tags_of_unknown_labels_are_not_too_many() -> None:
    decision = Decision(LABELS, "f1", calibrate=False)
    targets = torch.eye(3).repeat(20, 1)
    logits = 6 * targets - 3
    unknown = torch.full((200, 3), torch.nan)
    decision.fit(torch.cat([logits, torch.full((200, 3), 3.0)]), torch.cat([targets, unknown]))
    assert decision.notes == []


def test_a_guarantee_without_enough_images_is_kept_and_noted() -> None:
    logits, targets = validation(60)
    targets[:, 1] = 0
    decision = Decision(LABELS, "recall>=0.9@0.99", calibrate=False)
    decision.fit(logits, targets)
    counts = targets.sum(dim=0).int().tolist()
    named = ", ".join(f"{label} ({count})" for label, count in zip(LABELS, counts, strict=True))
    start = "too few images for recall>=0.9@0.99, which takes 44 positives: every image is tagged with "
    assert decision.notes == [start + named]
    assert decision.tags(logits.sigmoid()).all()
    decision.configure("precision>=0.9@0.99")
    decision.fit(logits, targets)
    start = "too few images for precision>=0.9@0.99, which takes 59 right tags and hardly any wrong ones: "
    assert decision.notes == [f"{start}no image is tagged with {named}"]
    assert not decision.tags(torch.ones(2, 3)).any()


def test_of_many_labels_some_are_named() -> None:
    decision = Decision([f"tag {i}" for i in range(30)], "f1_exact", calibrate=False)
    decision.fit(torch.randn(4, 30), torch.zeros(4, 30))
    [note] = decision.notes
    assert note.endswith("tag 8 (0), tag 9 (0) and 20 more: using 0.5")


def test_calibration_is_never_worse_on_the_validation_images() -> None:
    logits, targets = validation(12)
    for seed in range(50):
        some = torch.randperm(12, generator=torch.Generator().manual_seed(seed))[:6]
        decision = Decision(LABELS, "f1", calibrate=True)
        decision.fit(logits[some], targets[some])
        before, after = (cross_entropy(z, targets[some]) for z in (logits[some], decision(logits[some])))
        assert (after <= before).all()


@pytest.mark.parametrize("rule", ["f1", "f1_exact", "micro_f1"])
def test_a_model_that_cannot_tell_labels_apart_is_noted(rule: str) -> None:
    decision = Decision(LABELS, rule, calibrate=False)
    targets = torch.eye(3).repeat(20, 1)
    decision.fit(torch.zeros(60, 3), targets)
    expected = f"the model knows little yet: {rule} gives 3.0 tags for each true one; "
    assert decision.notes == [f"{expected}train longer, or set the threshold to 0.5"]
    decision.fit(6 * targets - 3, targets)
    assert decision.notes == []


def test_a_rule_that_was_never_fitted_is_noted() -> None:
    decision = Decision(LABELS, "f1", calibrate=False)
    [note] = decision.notes
    assert note.startswith("no threshold learned by f1")
    decision.configure(0.5)
    assert decision.notes == []


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        (1.5, r"threshold must be in \[0, 1\], got 1\.5"),
        ([0.5, 0.5], "threshold must be a number or 3 of them, got 2"),
        ("f2", r"threshold f2 is neither a number nor a rule, which are f1, .*; P and R in \[0, 1\]"),
    ],
    ids=str,
)
def test_other_thresholds_are_refused(threshold: Threshold, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Decision(LABELS, threshold, calibrate=False)
    with pytest.raises(InputError, match=message):
        Decision(LABELS, "f1", calibrate=False).configure(threshold)
