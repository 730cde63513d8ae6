import pytest
import torch
from torch import Tensor

from multilabel_pl.model.robust_f1 import best_expected_f1, robust_f1_thresholds
from multilabel_pl.model.rules import Rule
from multilabel_pl.model.thresholds import search

RARE = 40  # labels


def drawn(count: int, seed: int, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Draws honest logits (N, RARE) of rare labels, which are then shifted, and targets."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, RARE, generator=generator) * 2 - 4
    targets = (torch.rand(count, RARE, generator=generator) < logits.sigmoid()).float()
    return logits + shift, targets


def scores(thresholds: Tensor, logits: Tensor, targets: Tensor) -> tuple[float, float]:
    """Returns micro F1, and tags to true tags."""
    tags = logits.sigmoid() >= thresholds
    micro_f1 = 2 * (tags * targets).sum() / (tags.sum() + targets.sum())
    return micro_f1.item(), (tags.sum() / targets.sum()).item()


@pytest.mark.parametrize("dim", [0, (0, 1)], ids=str)
def test_half_of_the_best_expected_f1_is_the_best_threshold(dim: int | tuple[int, ...]) -> None:
    probabilities = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) ** 3
    best = best_expected_f1(probabilities, dim)
    for threshold in [0.0, *torch.unique(probabilities).tolist()]:
        tags = probabilities >= threshold
        f1 = 2 * (probabilities * tags).sum(dim) / (probabilities.sum(dim) + tags.sum(dim))
        assert (f1 <= best + 1e-5).all()
    tags = probabilities >= best / 2
    torch.testing.assert_close(2 * (probabilities * tags).sum(dim) / (probabilities.sum(dim) + tags.sum(dim)), best)


@pytest.mark.parametrize("size", [50, 300])
@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_it_holds_on_images_never_seen_where_the_exact_search_does_not(size: int, shift: float) -> None:
    new = drawn(5000, 1, shift)
    logits, targets = drawn(size, 0, shift)
    robust, tags = scores(robust_f1_thresholds(logits, targets), *new)
    exact, many_tags = scores(search(logits.sigmoid(), targets, Rule("f1_exact")).thresholds, *new)
    assert robust > exact + 0.02
    assert 0.7 < tags < 1.4
    assert many_tags > tags
    assert robust > scores(torch.full((RARE,), 0.5), *new)[0]


def test_one_label_and_one_image_are_enough_to_get_a_threshold() -> None:
    for target in (0.0, 1.0):
        [threshold] = robust_f1_thresholds(torch.tensor([[0.3]]), torch.tensor([[target]])).tolist()
        assert 0 < threshold < 1


def test_huge_logits_do_no_harm() -> None:
    logits, targets = drawn(1000, 0)
    thresholds = robust_f1_thresholds(logits * 50, targets)
    assert scores(thresholds, logits * 50, targets)[0] == pytest.approx(
        scores(robust_f1_thresholds(logits, targets), logits, targets)[0], abs=0.02
    )
