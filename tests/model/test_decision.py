import pytest
import torch
from torch import Tensor

from multilabel_pl.errors import InputError
from multilabel_pl.model.calibration import fit_slopes
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.thresholds import Rule, Threshold, learn_thresholds

LABELS = ["cat", "dog", "owl"]


def validation(count: int = 400) -> tuple[Tensor, Tensor]:
    """Draws logits (N, 3) that are twice too large, and the targets that they predict."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, 3, generator=generator)
    return 2 * logits, (torch.rand(count, 3, generator=generator) < logits.sigmoid()).float()


def test_its_state_is_three_buffers_of_a_checkpoint() -> None:
    decision = Decision(LABELS, [0.1, 0.2, 0.3], calibrate=False)
    state = decision.state_dict()
    assert list(state) == ["slopes", "offsets", "thresholds"]
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
    slopes, _ = fit_slopes(logits, targets)
    assert torch.equal(decision.slopes, slopes)
    assert slopes.tolist() == pytest.approx([0.5] * 3, abs=0.15)
    expected, _ = learn_thresholds((logits * slopes).sigmoid(), targets, Rule("recall", 0.9))
    assert torch.equal(decision.thresholds, expected)
    assert decision.notes == []
    decision.fit(logits * 2, targets)  # from uncalibrated logits, whatever was fitted before
    torch.testing.assert_close(decision.slopes, slopes / 2)


def test_fitting_without_calibration_removes_an_earlier_one() -> None:
    logits, targets = validation()
    decision = Decision(LABELS, "f1", calibrate=True)
    decision.fit(logits, targets)
    decision.configure(calibrate=False)
    assert (decision.slopes != 1).all()  # until it is fitted
    decision.fit(logits, targets)
    assert decision.slopes.tolist() == [1] * 3
    expected, _ = learn_thresholds(logits.sigmoid(), targets, Rule("f1"))
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


def test_labels_that_cannot_be_learned_are_named_and_keep_their_defaults() -> None:
    logits, targets = validation()
    targets[:, 0] = 0  # no positives
    logits[:, 2] = targets[:, 2] * 2 - 1  # separated perfectly: the steeper the better
    decision = Decision(LABELS, "f1", calibrate=True)
    decision.fit(logits, targets)
    assert decision.notes == [
        "no calibration fitted for labels cat, owl: using none",
        "no threshold learned by f1 for labels cat: using 0.5",
    ]
    assert (decision.slopes[[0, 2]].tolist(), decision.thresholds[0].item()) == ([1, 1], 0.5)
    decision.configure("precision>=1")
    decision.fit(torch.zeros(4, 3), torch.tensor([[1.0, 1, 1], [0, 0, 0]]).repeat(2, 1))
    assert decision.notes[1:] == ["no threshold learned by precision>=1 for labels cat, dog, owl: using 0.5"]


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
        ("f2", r"threshold must be in \[0, 1\], or f1, precision>=P or recall>=R, P and R in \[0, 1\], got f2"),
    ],
    ids=str,
)
def test_other_thresholds_are_refused(threshold: Threshold, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Decision(LABELS, threshold, calibrate=False)
    with pytest.raises(InputError, match=message):
        Decision(LABELS, "f1", calibrate=False).configure(threshold)
