"""The order in which an epoch visits the training images."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, DistributedSampler

from multilabel_pl.data.datasets import Batch


class EpochOrder(DistributedSampler[Any]):
    """A shuffled order that is a pure function of the seed and the epoch.

    No random state is carried from one epoch to the next, so a resumed run sees what an uninterrupted one would have
    seen. Lightning calls `set_epoch` before each epoch, and leaves a DistributedSampler as it is.

    Args:
        size: Number of images.
        seed: Seed of all the orders, at least 0.
        num_replicas: Processes that share an epoch; a few images come twice if it can't be shared evenly.
        rank: Which of these processes this is, from 0.
        done: Tells, as an epoch begins, how many of its images this process has behind it; none if not given.
    """

    def __init__(
        self, size: int, seed: int, num_replicas: int = 1, rank: int = 0, done: Callable[[], int] | None = None
    ) -> None:
        super().__init__(range(size), num_replicas, rank, seed=seed)  # type: ignore[arg-type] # of which it takes the length
        self.size = size
        self.done = done

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        whole = np.resize(order, self.total_size)  # which begins anew where there is not enough
        own = whole[self.rank :: self.num_replicas]
        return iter(own[self.done() if self.done else 0 :].tolist())


class EpochLoader(DataLoader[Batch]):
    """A DataLoader that begins to fetch when the first batch is asked for.

    Lightning makes the iterator before it names the epoch and, in a training that is resumed, before it knows how far
    the epoch has come; worker processes would fetch other images by then.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override] # which says more than any iterator
        yield from super().__iter__()
