"""The order of the training images in an epoch."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, DistributedSampler

from multilabel_pl.data.datasets import Batch


class EpochOrder(DistributedSampler[Any]):
    """A shuffled order that is a pure function of the seed and the epoch.

    No random state is carried from one epoch to the next, so a resumed run sees what an uninterrupted one would have
    seen. Lightning calls `set_epoch` before each epoch, and does not replace a DistributedSampler.

    Args:
        size: Number of images.
        seed: Seed of all the orders, at least 0.
        num_replicas: Processes that share an epoch; a few images come twice if it can't be shared evenly.
        rank: Index of this process.
        done: Returns, as an epoch begins, how many of its images this process has seen; 0 if not given.
    """

    def __init__(
        self, size: int, seed: int, num_replicas: int = 1, rank: int = 0, done: Callable[[], int] | None = None
    ) -> None:
        super().__init__(range(size), num_replicas, rank, seed=seed)  # type: ignore[arg-type] # it takes only the length
        self.size = size
        self.done = done

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        whole = np.resize(order, self.total_size)  # repeats it from the start if it is too short
        own = whole[self.rank :: self.num_replicas]
        return iter(own[self.done() if self.done else 0 :].tolist())


class EpochLoader(DataLoader[Batch]):
    """A DataLoader that starts to fetch when the first batch is asked for.

    Lightning creates the iterator before it sets the epoch and, in a resumed run, before it restores the progress
    within it; worker processes would have fetched other images by then.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override] # which says more than any iterator
        yield from super().__iter__()
