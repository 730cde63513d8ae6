"""The order in which an epoch visits the training images."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochOrder(Sampler[int]):
    """A shuffled order that is a pure function of the seed and the epoch.

    No random state is carried from one epoch to the next, so a resumed run sees what an uninterrupted one would have
    seen. Lightning calls `set_epoch` before each epoch.

    Args:
        size: Number of images.
        seed: Seed of all the orders, at least 0.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, counted from 0, whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        order: list[int] = np.random.default_rng((self.seed, self.epoch)).permutation(self.size).tolist()
        return iter(order)
