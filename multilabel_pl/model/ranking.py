"""Metrics of the order of images: average precision and AUROC, of all labels by one sort."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

SORTED_AT_ONCE = 2**22  # scores, so that many labels take little memory


class Ranking(NamedTuple):
    """Images in the order of their scores, highest first and unknown ones last, label by label; (L, N) each.

    Attributes:
        image: Which image it is.
        truth: Whether it carries the label, 1 or 0.
        false: Whether it is known not to, 1 or 0.
        first: The first place with the same score.
        tagged: How many images have at least this score.
        reached: How many positives have.
    """

    image: Tensor
    truth: Tensor
    false: Tensor
    first: Tensor
    tagged: Tensor
    reached: Tensor

    @property
    def precision(self) -> Tensor:
        """Of a threshold at each score, float32 (L, N)."""
        return self.reached / self.tagged


def label_rankings(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Returns each label's average precision and AUROC (L,); NaN without positives or, for AUROC, negatives.

    Average precision is the mean of the precision at each positive; AUROC is the share of pairs of a positive and a
    negative that are in the right order, equals counting a half.

    Args:
        scores: float (N, L).
        targets: (N, L): 1, 0, or NaN where unknown.
    """
    average_precision, auroc = zip(
        *(_average_precision_and_auroc(*some) for some in _chunks(scores, targets)), strict=True
    )
    return torch.cat(average_precision), torch.cat(auroc)


def map_influences(scores: Tensor, targets: Tensor) -> Tensor:
    """Returns how the mean average precision over labels with positives changes with the weight of each image, (N,).

    Args:
        scores: float (N, L).
        targets: (N, L): 1, 0, or NaN where unknown.
    """
    influences = torch.stack([_influences(*some) for some in _chunks(scores, targets)])
    return influences.sum(dim=0) / (targets > 0).any(dim=0).sum()


def _chunks(*parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Splits (N, L) into as many labels as can be sorted at once."""
    return zip(*(torch.split(part, max(1, SORTED_AT_ONCE // len(part)), dim=1) for part in parts), strict=True)


def _rank(scores: Tensor, targets: Tensor) -> Ranking:
    scores = scores.where(~targets.isnan(), -torch.inf)
    scores, image = scores.T.contiguous().sort(dim=1, descending=True)  # twice as fast as with strides
    in_order = targets.T.gather(1, image)
    truth, false = (in_order > 0).long(), (in_order <= 0).long()
    place = torch.arange(len(targets), device=scores.device).expand_as(image)
    differs = scores[:, 1:] != scores[:, :-1]
    edge = torch.ones_like(truth[:, :1], dtype=torch.bool)
    first = place.where(torch.cat([edge, differs], dim=1), 0).cummax(dim=1).values
    last = place.where(torch.cat([differs, edge], dim=1), len(targets)).flip(1).cummin(dim=1).values.flip(1)
    return Ranking(image, truth, false, first, last + 1, truth.cumsum(dim=1).gather(1, last))


def _average_precision_and_auroc(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    ranking = _rank(scores, targets)
    truth, false = ranking.truth, ranking.false
    positives = truth.sum(dim=1)
    average_precision = (ranking.precision * truth).sum(dim=1) / positives
    above = (truth.cumsum(dim=1) - truth).gather(1, ranking.first)  # positives with a higher score
    won = ((ranking.reached + above) * false).sum(dim=1)  # twice the pairs in order, of each negative
    return average_precision, won / (2 * positives * false.sum(dim=1))


def _influences(scores: Tensor, targets: Tensor) -> Tensor:
    """Returns the influence of each image (N,) on the sum of the labels' average precision.

    A label's is mean(reached / tagged) over its positives, where an image counts in the numbers of all positives at its
    place and below, and, if it is a positive, in the mean.
    """
    ranking = _rank(scores, targets)
    truth, precision = ranking.truth, ranking.precision
    positives = truth.sum(dim=1, keepdim=True).clamp(min=1)
    average_precision = (precision * truth).sum(dim=1, keepdim=True) / positives
    per_tag = truth / ranking.tagged
    gained, lost = (_sum_from(ranking.first, values) for values in (per_tag, per_tag * precision))
    influences = (truth * (precision - average_precision + gained) - lost) * (truth + ranking.false) / positives
    return torch.zeros_like(influences[0]).index_add(0, ranking.image.flatten(), influences.flatten())


def _sum_from(first: Tensor, values: Tensor) -> Tensor:
    """Sums values (L, N) from a place (L, N) on."""
    return values.sum(dim=1, keepdim=True) - (values.cumsum(dim=1) - values).gather(1, first)
