"""Thresholds with a guarantee: with a given confidence, precision or recall holds on new images.

What is promised holds for images like the validation images, and strictly only if these chose nothing else: not the
epoch, nor anything before it.
"""

import math

import torch
from torch import Tensor

from multilabel_pl.model.rules import Learned

EVERYTHING = 0.0  # the threshold that tags every image
LAST = -1.0  # less than any probability: it sorts unknown decisions behind all others
NOTHING = 1 + torch.finfo(torch.float32).eps  # the lowest threshold that no probability reaches
STARTS = 5  # of sequences of tests
TESTS_PER_START = 8  # between one start and the next, at twice as many images


def least_number(share: float, risk: float) -> int:
    """Returns how many images, none of them missed, show with this risk that a share of them is not."""
    return math.ceil(math.log(risk) / math.log(share))


def allowed_misses(counts: Tensor, share: float, risk: float) -> Tensor:
    """Returns how many of so many images may be missed.

    Args:
        counts: Numbers of images, int64, of any shape.
        share: The share that is to be found, in (0, 1).
        risk: In (0, 1).

    Returns:
        The largest m for which a Binomial(count, 1 - share) is at most m with a probability of at most `risk`; -1 if
        there is none. That is, the largest m for which a Beta(count - m, m + 1) is below the share so rarely.
    """
    different, where = torch.unique(counts, return_inverse=True)
    allowed = [_allowed(count, share, risk) for count in different.tolist()]
    return torch.tensor(allowed, dtype=torch.int64, device=counts.device)[where]


def _allowed(count: int, share: float, risk: float) -> int:
    misses = torch.arange(count + 1, dtype=torch.float64)
    ways = math.lgamma(count + 1) - torch.lgamma(misses + 1) - torch.lgamma(count - misses + 1)
    log_probabilities = ways + misses * math.log1p(-share) + (count - misses) * math.log(share)
    return int((log_probabilities.logcumsumexp(dim=0) <= math.log(risk)).sum()) - 1


def recall_thresholds(probabilities: Tensor, targets: Tensor, recall: float, risk: float) -> Learned:
    """Finds the highest threshold of each label whose recall on new images is at least so much.

    It is one of the label's positive scores: the k-th smallest, with the largest k for which the Beta(n - k + 1, k)
    distribution of the recall puts at most `risk` below the minimum (the order statistics of Tong, Feng & Li, 2018,
    https://doi.org/10.1126/sciadv.aao1659, for the other kind of error).

    Args:
        probabilities: float32 (N, L).
        targets: (N, L): 1, 0, or NaN where unknown.
        recall: The minimum, in (0, 1).
        risk: Of a recall below it, over the draw of these images, for each label.
    """
    truth = targets > 0
    scores = probabilities.where(truth, torch.inf).sort(dim=0).values  # (N, L), positives first
    misses = allowed_misses(truth.sum(dim=0), recall, risk)  # (L,)
    thresholds = scores.gather(0, misses.clamp(min=0)[None])[0]
    found = misses >= 0
    return Learned(thresholds.where(found, EVERYTHING), found, least_number(recall, risk))


def precision_thresholds(probabilities: Tensor, targets: Tensor, precision: float, risk: float) -> Learned:
    """Finds a low threshold for each label whose precision on new images is at least so much.

    Fixed-sequence testing, from high thresholds to low, that the precision is lower (Learn then Test, Angelopoulos et
    al., 2021, https://arxiv.org/abs/2110.01052): each test is a binomial one of the images tagged, and the first that
    fails ends the sequence. Thresholds are those that tag so many images, 2^(1/8) as many from one to the next. As
    few images prove little, and one mistake among them would end it all, five sequences start, each at twice as many
    images, and share the risk; the one that leads furthest counts.

    Args:
        probabilities: float32 (N, L).
        targets: (N, L): 1, 0, or NaN where unknown.
        precision: The minimum, in (0, 1).
        risk: Of a precision below it, over the draw of these images, for each label.
    """
    needed = least_number(precision, risk / STARTS)
    known = ~targets.isnan()
    scores, order = probabilities.where(known, LAST).sort(dim=0, descending=True)  # (N, L)
    hits = (targets > 0).gather(0, order).long().cumsum(dim=0)
    ranks = _ranks(needed, len(scores)).to(scores.device)  # (T,)
    thresholds = scores[ranks - 1]  # (T, L)
    # A threshold also tags all images with just this score.
    tagged = torch.searchsorted(-scores.T.contiguous(), -thresholds.T.contiguous(), right=True).T  # (T, L)
    misses = tagged - hits.gather(0, tagged - 1)
    enough = ranks[:, None] <= known.sum(dim=0)  # (T, L)
    shown = enough & (misses <= allowed_misses(tagged, precision, risk / STARTS))
    lowest = torch.full_like(scores[0], NOTHING)  # (L,)
    for start in range(0, min(len(ranks), STARTS * TESTS_PER_START), TESTS_PER_START):
        steps = shown[start:].long().cumprod(dim=0).sum(dim=0)  # (L,): tests before the first that fails
        reached = thresholds[start:].gather(0, (steps - 1).clamp(min=0)[None])[0]
        lowest = torch.minimum(lowest, reached.where(steps > 0, torch.inf))
    return Learned(lowest, lowest <= 1, needed)


def _ranks(first: int, last: int) -> Tensor:
    """Returns the numbers from first to last, each 2^(1/8) times the one before, int64 (T,); none if last is less."""
    steps = math.floor(math.log2(last / first) * TESTS_PER_START) + 1
    return (first * 2 ** (torch.arange(max(0, steps)) / TESTS_PER_START)).round().long()
