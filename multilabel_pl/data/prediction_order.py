"""The order in which images are predicted."""

import math
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Trainer
from torch.utils.data import DistributedSampler

from multilabel_pl.errors import InputError


class PredictionOrder(DistributedSampler[Any]):
    """Images in their order, of which each process has whole batches that follow each other.

    So the batches are the same however many processes share them, and the rows of all processes, one process after the
    other, are in the order of the images. Lightning does not replace a DistributedSampler.

    Args:
        size: Number of images.
        batch_size: Images in a batch; fewer if there would not be a batch for each process.
        num_replicas: Processes that share the images.
        rank: Index of this process.

    Attributes:
        done: Images of this process's share that have been predicted before.

    Raises:
        InputError: If there are fewer images than processes.
    """

    def __init__(self, size: int, batch_size: int, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(range(size), num_replicas, rank, shuffle=False)  # type: ignore[arg-type] # it takes the length
        if size < num_replicas:
            raise InputError(f"{num_replicas} processes can't share {size} images: lower --trainer.devices")
        self.size = size
        self.batch_size = min(batch_size, size // num_replicas)
        self.done = 0

    @classmethod
    def shared_by(cls, trainer: Trainer, size: int, batch_size: int) -> "PredictionOrder":
        """Returns the order of this process of a trainer's."""
        return cls(size, batch_size, trainer.world_size, trainer.global_rank)

    @property
    def share(self) -> range:
        """The images of this process, with those that are done."""
        batches = math.ceil(self.size / self.batch_size)
        first, end = (batches * rank // self.num_replicas for rank in (self.rank, self.rank + 1))
        return range(first * self.batch_size, min(end * self.batch_size, self.size))

    def limit(self, batches: float) -> None:
        """Leaves out the images after so many batches of each process or, as a float, after that share of all."""
        whole = math.ceil(self.size / self.batch_size)
        kept = int(whole * batches) if isinstance(batches, float) else batches * self.num_replicas
        self.size = min(self.size, kept * self.batch_size)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share[self.done :])

    def __len__(self) -> int:
        return len(self.share) - self.done
