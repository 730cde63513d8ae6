"""Known decisions among unknown ones: what is learned or measured must not notice these."""

import torch
from torch import Tensor


def scattered(scores: Tensor, targets: Tensor, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Puts each label's decisions on other images, at random, of which all else is unknown.

    Args:
        scores: (N, L), whose range the scores of unknown decisions have as well.
        targets: (N, L) of 0 and 1.
        size: Number of images, at least N.
        seed: Of their places.

    Returns:
        Scores and targets, (size, L), the targets NaN where unknown.
    """
    generator = torch.Generator().manual_seed(seed)
    count, labels = scores.shape
    places = torch.rand(size, labels, generator=generator).argsort(dim=0)[:count].sort(dim=0).values
    others = torch.rand(size, labels, generator=generator) * (scores.max() - scores.min()) + scores.min()
    return others.scatter(0, places, scores), torch.full_like(others, torch.nan).scatter(0, places, targets.float())
