import pytest
import torch
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from multilabel_pl.model import ranking
from multilabel_pl.model.ranking import label_rankings, map_influences
from tests.model.scattered import scattered

SCORES = torch.rand(300, 5, generator=torch.Generator().manual_seed(0))
TARGETS = (torch.rand(300, 5, generator=torch.Generator().manual_seed(1)) < 0.3).int()


@pytest.mark.parametrize("decimals", [6, 1, 0])  # with more and more scores that are equal
def test_rankings_are_those_of_torchmetrics(decimals: int) -> None:
    scores = SCORES.round(decimals=decimals)
    pairs = list(zip(scores.T, TARGETS.T, strict=True))
    average_precision, auroc = label_rankings(scores, TARGETS)
    torch.testing.assert_close(average_precision, torch.stack([binary_average_precision(*pair) for pair in pairs]))
    torch.testing.assert_close(auroc, torch.stack([binary_auroc(*pair) for pair in pairs]))


@pytest.mark.parametrize("decimals", [6, 1])
def test_labels_are_ranked_by_what_is_known_of_them(decimals: int) -> None:
    scores, targets = scattered(SCORES.round(decimals=decimals), TARGETS, 900)
    expected = label_rankings(SCORES.round(decimals=decimals), TARGETS)
    torch.testing.assert_close(label_rankings(scores.round(decimals=decimals), targets), expected)
    average_precision, auroc = label_rankings(SCORES, torch.full((300, 5), torch.nan))
    assert torch.cat([average_precision, auroc]).isnan().all()


def test_rankings_of_many_labels_are_computed_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [*label_rankings(SCORES, TARGETS), map_influences(SCORES, TARGETS)]
    monkeypatch.setattr(ranking, "SORTED_AT_ONCE", 650)  # two labels
    parts = [*label_rankings(SCORES, TARGETS), map_influences(SCORES, TARGETS)]
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("decimals", [6, 1])
@pytest.mark.parametrize("known", [1.0, 0.5])
def test_influences_are_what_more_of_an_image_changes(decimals: int, known: float) -> None:
    """If an image counts twice among 300 x 20, the mean average precision changes by a 20th of its influence."""
    scores = SCORES.round(decimals=decimals)
    shown = torch.rand(300, 5, generator=torch.Generator().manual_seed(2)) <= known
    shown[30] = known == 1  # nothing is known of one of the images below
    targets = TARGETS.float().where(shown, torch.nan)
    influences = map_influences(scores, targets)
    assert abs(influences.sum()) < 1e-4
    assert (influences[~shown.any(dim=1)] == 0).all()
    rows = torch.arange(300).repeat(20)
    before = label_rankings(scores[rows].double(), targets[rows])[0].mean()
    for image in range(0, 300, 30):
        more = torch.cat([rows, torch.tensor([image])])
        after = label_rankings(scores[more].double(), targets[more])[0].mean()
        assert (after - before).item() * 20 == pytest.approx(influences[image].item(), rel=0.1, abs=1e-5)


def test_labels_without_positives_influence_nothing() -> None:
    targets = torch.cat([TARGETS, torch.zeros(300, 1, dtype=torch.int32)], dim=1)
    scores = torch.cat([SCORES, SCORES[:, :1]], dim=1)
    torch.testing.assert_close(map_influences(scores, targets), map_influences(SCORES, TARGETS))


def test_one_image_is_enough() -> None:
    targets = torch.tensor([[1, 0]])
    average_precision, auroc = label_rankings(SCORES[:1, :2], targets)
    assert average_precision[0] == 1
    assert average_precision[1].isnan()
    assert auroc.isnan().all()
    assert map_influences(SCORES[:1, :2], targets).tolist() == [0]
