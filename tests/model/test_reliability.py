import pytest
import torch

from multilabel_pl.model.reliability import BINS, calibration_error, reliability


def test_decisions_are_counted_in_bins_of_their_probability() -> None:
    probabilities = torch.tensor([[0.01, 0.5], [0.02, 1.0], [0.03, 0.97]])
    targets = torch.tensor([[0.0, torch.nan], [1, 1], [0, 0]])
    first, *between, last = reliability(probabilities, targets)
    assert (first.size, last.size) == (3, 2)
    assert [first.probability, first.share.value] == pytest.approx([0.02, 1 / 3])
    assert [last.probability, last.share.value] == pytest.approx([0.985, 0.5])
    assert [each.size for each in between] == [0] * (BINS - 2)
    assert calibration_error(probabilities, targets).item() == pytest.approx((3 * (1 / 3 - 0.02) + 2 * 0.485) / 5)


def test_without_a_known_decision_there_is_none() -> None:
    assert calibration_error(torch.ones(2, 3), torch.full((2, 3), torch.nan)).isnan()


def test_labels_that_go_together_make_no_bin_surer() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(500, 1, generator=generator)
    targets = (torch.rand(500, 1, generator=generator) < probabilities).float()
    alone, together = (reliability(*(part.repeat(1, times) for part in (probabilities, targets))) for times in (1, 4))
    assert [each.size for each in together] == [4 * each.size for each in alone]
    for one, four in zip(alone, together, strict=True):
        assert four.share == pytest.approx(one.share)


@pytest.mark.slow
def test_more_decisions_than_float32_counts_are_counted() -> None:
    probabilities = torch.full((2**20, 20), 1 / 16)
    targets = (torch.arange(2**20) % 16 == 0).float()[:, None].expand(-1, 20)
    assert calibration_error(probabilities, targets).item() == pytest.approx(0, abs=1e-6)
