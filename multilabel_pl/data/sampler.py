"""The order of the training images in an epoch."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, DistributedSampler

from multilabel_pl.data.datasets import Batch

MIXED = 4  # shards whose images are shuffled together; LitData keeps as many open


class EpochOrder(DistributedSampler[Any]):
    """A shuffled order that is a pure function of the seed and the epoch.

    No random state is carried from one epoch to the next, so a resumed run sees what an uninterrupted one would have
    seen. Lightning calls `set_epoch` before each epoch, and does not replace a DistributedSampler.

    Images that lie in shards come a few shards at a time, in a random order of the shards, and each process reads
    shards of its own, so that neither a disk has to seek nor a network to carry what others read.

    Args:
        size: Number of images.
        seed: Seed of all the orders, at least 0.
        num_replicas: Processes that share an epoch; a few images come twice if it can't be shared evenly.
        rank: Index of this process.
        done: Returns, as an epoch begins, how many of its images this process has seen; 0 if not given.
        shards: How many of the images lie in each shard, if they lie in some.
    """

    def __init__(
        self,
        size: int,
        seed: int,
        num_replicas: int = 1,
        rank: int = 0,
        done: Callable[[], int] | None = None,
        shards: Sequence[int] = (),
    ) -> None:
        super().__init__(range(size), num_replicas, rank, seed=seed)  # type: ignore[arg-type] # it takes only the length
        self.size = size
        self.done = done
        self.shards = shards

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = _by_shards(self.shards, random) if self.shards else random.permutation(self.size)
        whole = np.resize(order, self.total_size)  # repeats it from the start if it is too short
        parts = whole.reshape((self.num_replicas, -1)) if self.shards else whole.reshape((-1, self.num_replicas)).T
        return iter(parts[self.rank][self.done() if self.done else 0 :].tolist())


class EpochLoader(DataLoader[Batch]):
    """A DataLoader that starts to fetch when the first batch is asked for.

    Lightning creates the iterator before it sets the epoch and, in a resumed run, before it restores the progress
    within it; worker processes would have fetched other images by then.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override] # which says more than any iterator
        yield from super().__iter__()


def _by_shards(sizes: Sequence[int], random: np.random.Generator) -> NDArray[np.int64]:
    """Shuffles shards, and then the images of a few shards that follow each other."""
    ends = np.cumsum(sizes)
    shards = [np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    order = random.permutation(len(shards))
    groups = [order[start : start + MIXED] for start in range(0, len(order), MIXED)]
    return np.concatenate([random.permutation(np.concatenate([shards[i] for i in group])) for group in groups])
