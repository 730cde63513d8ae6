import math
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torchvision.ops import sigmoid_focal_loss

from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.errors import InputError
from multilabel_pl.model.loss import Loss, LossName, asymmetric_loss, balancing_weights, smooth

GAMMAS = st.one_of(st.sampled_from([0.0, 1.0, 2.0, 4.0]), st.floats(0.05, 6))
CLIPS = st.one_of(st.sampled_from([0.0, 0.05]), st.floats(1e-6, 0.999))
SEEDS = st.integers(0, 2**32 - 1)

patient = settings(deadline=None)  # a busy machine may take its time


def decisions(seed: int, scale: float = 3.0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (20, 6), targets (20, 6), many of them 0 or 1, the others in between, and weights (6,)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(20, 6, generator=generator) * scale
    targets = (torch.rand(20, 6, generator=generator) * 3 - 1).clamp(0, 1)
    weights = torch.rand(6, generator=generator) * 5 + 0.1
    return logits.to(dtype).requires_grad_(), targets.to(dtype), weights.to(dtype)


def plain_loss(
    logits: Tensor, targets: Tensor, gamma_pos: float, gamma_neg: float, clip: float, pos_weight: Tensor
) -> Tensor:
    """The paper's formula, exact in float64 as long as no probability underflows."""
    p, rest = torch.sigmoid(logits), torch.sigmoid(-logits)
    p_m = (p - clip).clamp(min=1e-300)  # rather than 0, where a fractional power has no slope
    positives = rest**gamma_pos * torch.log(p)
    negatives = p_m**gamma_neg * torch.log((rest + clip).clamp(max=1))
    return -(targets * pos_weight * positives + (1 - targets) * negatives).mean()


def value_and_gradient(loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Of the mean; the gradient (B, L) is of the sum, so that it has each decision's size."""
    [gradient] = torch.autograd.grad(loss * logits.numel(), logits)
    return loss.detach(), gradient


def test_asymmetric_loss_by_hand() -> None:
    logits = torch.tensor([[4.0, 4.0]]).log()  # p = 0.8
    loss = asymmetric_loss(logits, torch.tensor([[1.0, 0.0]]), 1.0, 2.0, 0.3, torch.tensor([3.0, 7.0]))
    positive = 3 * 0.2 * -math.log(0.8)
    negative = 0.5**2 * -math.log(0.5)
    assert loss.item() == pytest.approx((positive + negative) / 2, rel=1e-5)


def test_asymmetric_loss_has_the_papers_defaults() -> None:
    logits, targets, _ = decisions(0)
    assert torch.equal(asymmetric_loss(logits, targets), asymmetric_loss(logits, targets, 0.0, 4.0, 0.05, None))


@patient
@given(GAMMAS, GAMMAS, CLIPS, SEEDS)
def test_asymmetric_loss_is_the_papers_formula(gamma_pos: float, gamma_neg: float, clip: float, seed: int) -> None:
    logits, targets, weights = decisions(seed)
    ours = value_and_gradient(asymmetric_loss(logits, targets, gamma_pos, gamma_neg, clip, weights), logits)
    plain = value_and_gradient(plain_loss(logits, targets, gamma_pos, gamma_neg, clip, weights), logits)
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


@patient
@given(GAMMAS, GAMMAS, CLIPS, st.floats(0.1, 100), SEEDS)
def test_asymmetric_loss_is_exact_in_float32(
    gamma_pos: float, gamma_neg: float, clip: float, scale: float, seed: int
) -> None:
    logits, targets, weights = decisions(seed, scale, torch.float32)
    loss, gradient = value_and_gradient(asymmetric_loss(logits, targets, gamma_pos, gamma_neg, clip, weights), logits)
    exact_loss, exact_gradient = value_and_gradient(
        plain_loss(logits.double(), targets.double(), gamma_pos, gamma_neg, clip, weights.double()), logits
    )
    torch.testing.assert_close(loss, exact_loss.float(), rtol=1e-5, atol=1e-6)
    # Where a fractional power begins, float32 has no digits for its slope.
    exact = ((torch.sigmoid(logits) - clip).abs() > 1e-3) | (clip == 0)
    torch.testing.assert_close(gradient[exact], exact_gradient[exact], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("clip", [0.0, 1e-30, 1e-9, 0.05, 0.5, 0.999])
@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("size", [200.0, 1e4])
def test_asymmetric_loss_at_the_extremes(size: float, gamma: float, clip: float) -> None:
    logits = torch.tensor([[-size, size, -size, size]], requires_grad=True)
    targets = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    missed = [2 * size, -2.0]  # value and gradient of a positive that weighs 2
    false_alarm = [(1 - clip) ** gamma * -math.log(clip), 0.0] if clip else [size, 1.0]
    loss, gradient = value_and_gradient(
        asymmetric_loss(logits, targets, gamma, gamma, clip, torch.full((4,), 2.0)), logits
    )
    assert loss.item() == pytest.approx((missed[0] + false_alarm[0]) / 4, rel=1e-5)
    torch.testing.assert_close(gradient, torch.tensor([[missed[1], 0.0, 0.0, false_alarm[1]]]))


@pytest.mark.parametrize("weighted", [False, True])
@patient
@given(seed=SEEDS)
def test_asymmetric_loss_without_focus_is_binary_cross_entropy(weighted: bool, seed: int) -> None:
    logits, targets, weights = decisions(seed)
    pos_weight = weights if weighted else None
    ours = asymmetric_loss(logits, targets, 0.0, 0.0, 0.0, pos_weight)
    torchs = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight)
    torch.testing.assert_close(value_and_gradient(ours, logits), value_and_gradient(torchs, logits))


@patient
@given(GAMMAS, SEEDS)
def test_asymmetric_loss_with_equal_gammas_is_focal_loss(gamma: float, seed: int) -> None:
    logits, targets, _ = decisions(seed)
    targets = targets.round()
    ours = asymmetric_loss(logits, targets, gamma, gamma, 0.0)
    focal = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=gamma, reduction="mean")
    torch.testing.assert_close(value_and_gradient(ours, logits), value_and_gradient(focal, logits))


def test_negatives_below_the_clip_are_free() -> None:
    logits = torch.tensor([[0.04, 0.06]]).logit().requires_grad_()
    _, gradient = value_and_gradient(asymmetric_loss(logits, torch.zeros(1, 2), gamma_neg=0.5), logits)
    assert gradient[0, 0] == 0
    assert gradient[0, 1] > 0


def test_balancing_weights() -> None:
    weights = balancing_weights(torch.tensor([0, 1, 4, 8, 10]), 10)
    torch.testing.assert_close(weights, torch.tensor([1.0, 9.0, 1.5, 0.25, 1.0]))


def test_balanced_labels_pull_a_bias_to_neither_side() -> None:
    targets = torch.zeros(10, 3)
    targets[:2, 0] = targets[:5, 1] = targets[:9, 2] = 1
    bias = torch.zeros(3, requires_grad=True)
    weights = balancing_weights(targets.sum(dim=0), len(targets))
    loss = F.binary_cross_entropy_with_logits(bias.expand(10, 3), targets, pos_weight=weights)
    [gradient] = torch.autograd.grad(loss, bias)
    torch.testing.assert_close(gradient, torch.zeros(3))


def test_smooth() -> None:
    targets = torch.tensor([[0.0, 1.0, 0.5, 0.25]])
    torch.testing.assert_close(smooth(targets, 0.2), torch.tensor([[0.1, 0.9, 0.5, 0.3]]))
    assert torch.equal(smooth(targets, 0.0), targets)


def test_the_loss_is_the_one_asked_for() -> None:
    logits, targets, _ = decisions(0)
    weights = [0.5, 1.0, 2.0, 3.0, 4.0, 5.0]
    bce = Loss(pos_weight=weights)
    asymmetric = Loss("asymmetric", weights, gamma_pos=1.0, gamma_neg=2.0, clip=0.1)
    for loss in (bce, asymmetric):
        loss.bind(6)
    pos_weight = torch.tensor(weights, dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight)
    torch.testing.assert_close(bce(logits, targets), expected)
    expected = asymmetric_loss(logits, targets, 1.0, 2.0, 0.1, pos_weight)
    torch.testing.assert_close(asymmetric(logits, targets), expected)
    half = bce.half()(logits.half(), targets)  # targets of another type, as where a Trainer lowers the precision
    assert half.dtype == torch.float16


def test_labels_are_smoothed_in_training_alone() -> None:
    logits, targets, _ = decisions(0)
    loss = Loss(label_smoothing=0.2)
    torch.testing.assert_close(
        loss.train()(logits, targets), F.binary_cross_entropy_with_logits(logits, smooth(targets, 0.2))
    )
    torch.testing.assert_close(loss.eval()(logits, targets), F.binary_cross_entropy_with_logits(logits, targets))


def test_weights_of_positives_are_a_buffer_that_training_images_decide() -> None:
    targets = torch.tensor([[1.0, 0], [1, 0], [1, 1], [0, 0]])
    images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    loader = DataLoader(LabelledImages(images, targets))
    auto, fixed, none = Loss(pos_weight="auto"), Loss(pos_weight=[2.0, 5.0]), Loss()
    for loss in (auto, fixed, none):
        loss.bind(2)
    assert auto.state_dict()["pos_weight"].tolist() == [1, 1]  # until then
    for loss in (auto, fixed, none):
        loss.inspect(loader)
    torch.testing.assert_close(auto.state_dict()["pos_weight"], torch.tensor([1 / 3, 3]))
    assert fixed.state_dict()["pos_weight"].tolist() == [2, 5]
    assert none.state_dict() == {}
    unknown = torch.full((2, 2), torch.nan)
    auto.inspect(DataLoader(LabelledImages(images.repeat(2, 1, 1, 1)[:6], torch.cat([unknown, targets]))))
    torch.testing.assert_close(auto.state_dict()["pos_weight"], torch.tensor([1 / 3, 3]))
    loaders: list[Any] = [DataLoader(TensorDataset(images)), [loader], None]  # without targets
    for without_targets in loaders:
        with pytest.raises(
            InputError, match=r"^pos_weight auto needs a training set with targets \(N, L\): give a list"
        ):
            auto.inspect(without_targets)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("name", get_args(LossName))
def test_the_mean_is_over_the_known_decisions(name: LossName, smoothing: float, weighted: bool) -> None:
    logits, targets, weights = decisions(0)
    known = torch.rand(20, 6, generator=torch.Generator().manual_seed(1)) < 0.5
    weights = weights if weighted else torch.ones(6).double()
    loss = Loss(name, weights.tolist() if weighted else None, 1.0, 2.0, 0.1, smoothing).double()
    loss.bind(6)
    ours = value_and_gradient(loss.double()(logits, targets.where(known, torch.nan)), logits)
    gammas = (1.0, 2.0, 0.1) if name == "asymmetric" else (0.0, 0.0, 0.0)
    each = logits[known], smooth(targets, smoothing)[known]
    expected = value_and_gradient(plain_loss(*each, *gammas, weights.expand(20, 6)[known]), logits)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)
    assert (ours[1][~known] == 0).all()
    assert (ours[1][known] != 0).any()


@pytest.mark.parametrize("name", get_args(LossName))
def test_a_batch_of_which_nothing_is_known_changes_nothing(name: LossName) -> None:
    logits = torch.tensor([[0.0, -2.0, math.inf], [-math.inf, 300.0, 1.0]], requires_grad=True)
    loss, gradient = value_and_gradient(Loss(name, label_smoothing=0.1)(logits, torch.full((2, 3), torch.nan)), logits)
    assert loss.item() == 0
    assert gradient.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_training_looks_for_unknown_labels_unless_its_images_have_none() -> None:
    logits, targets, _ = decisions(0)
    some = targets.clone()
    some[0, 0] = torch.nan
    images = torch.zeros(20, 1, 2, 2, dtype=torch.uint8)
    loss = Loss()
    datasets: list[Any] = [TensorDataset(images, some), LabelledImages(images, some)]
    for dataset in datasets:
        loss.inspect(DataLoader(dataset))
        assert not loss.all_known
        assert loss(logits, some).isfinite()
    loss.inspect(DataLoader(LabelledImages(images, targets)))
    assert loss.all_known
    assert torch.equal(loss(logits, targets), loss.of_known(logits, targets))
    assert loss.eval()(logits, some).isfinite()  # of a validation, whatever the training images are


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, math.inf], [1.0, math.nan]])
def test_weights_must_be_positive_and_as_many_as_labels(weights: list[float]) -> None:
    with pytest.raises(InputError, match=r"pos_weight must be auto, or 2 positive numbers, got \[1\.0"):
        Loss(pos_weight=weights).bind(2)
