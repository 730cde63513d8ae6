import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multilabel_pl.model.head import HEADS, HeadName, sigmoid_head, softmax_head


def exact_logits(scores: Tensor) -> Tensor:
    """The contract, spelled out in float64: a score less the log-sum-exp of all others."""
    scores = scores.double()
    others = scores.unsqueeze(-2).repeat(1, scores.shape[-1], 1)  # (B, L) -> (B, L, L)
    others.diagonal(dim1=-2, dim2=-1).fill_(-torch.inf)
    return scores - others.logsumexp(-1)


@settings(deadline=None)  # a busy machine may take its time
@given(st.integers(2, 30), st.floats(0, 1e4), st.integers(0, 2**32 - 1))
def test_softmax_head_gives_softmax_probabilities(num_labels: int, scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = (torch.rand(8, num_labels, generator=generator, dtype=torch.float64) * 2 - 1) * scale
    logits = softmax_head(scores)
    torch.testing.assert_close(logits.sigmoid(), torch.softmax(scores, dim=-1), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(logits, exact_logits(scores), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_softmax_head_is_exact_in_float32(scale: float) -> None:
    scores = torch.randn(100, 11) * scale
    torch.testing.assert_close(softmax_head(scores).double(), exact_logits(scores), rtol=1e-5, atol=1e-5)


def test_softmax_head_at_the_extremes() -> None:
    scores = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [1e4, 1e4, -1e4]], requires_grad=True)
    logits = softmax_head(scores)
    assert logits.isfinite().all()
    torch.testing.assert_close(logits.sigmoid(), torch.softmax(scores, dim=-1))
    [gradient] = torch.autograd.grad(logits.sum(), scores)
    assert gradient.isfinite().all()


def test_softmax_head_has_the_right_gradient() -> None:
    scores = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(softmax_head, scores)


def test_sigmoid_head_keeps_the_scores() -> None:
    scores = torch.randn(3, 4)
    assert torch.equal(sigmoid_head(scores), scores)


@pytest.mark.parametrize(("head", "most"), [("sigmoid", 11), ("softmax", 1)])
def test_only_sigmoid_lets_all_labels_be_certain(head: HeadName, most: int) -> None:
    """The tutorial's point: softmax shares one unit of probability, so k tags score 1/k each at best."""
    probabilities = HEADS[head](torch.full((1, 11), 20.0)).sigmoid()
    assert probabilities.sum().item() == pytest.approx(most, rel=1e-5)
