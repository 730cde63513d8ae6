"""Batches of images that are in memory, of the machine or of a GPU."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from multilabel_pl.data.datasets import Batch, LabelledImages
from multilabel_pl.messages import note

SHARE = 0.5  # of a GPU's free memory that images may take; the rest is the network's
GIGABYTE = 10**9


class MemoryLoader(DataLoader[Batch]):
    """Serves images that are in memory: a batch is made by one indexing operation, on the device that they are on.

    Like an `EpochLoader`, it asks for its order when it is asked for the first batch.
    """

    dataset: LabelledImages

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override] # which says more than any iterator
        if self.batch_size is None:  # but a sampler of batches, which Lightning puts in its place to predict
            yield from super().__iter__()
            return
        images, targets = self.dataset.served
        order = torch.tensor(list(self.sampler), dtype=torch.int64, device=images.device)
        left_out = len(order) % self.batch_size if self.drop_last else 0
        for start in range(0, len(order) - left_out, self.batch_size):
            rows = order[start : start + self.batch_size]
            # On CPUs, index_select copies whole rows, which images[rows] does not.
            yield self._pinned(images.index_select(0, rows)), self._pinned(targets.index_select(0, rows))

    def _pinned(self, part: Tensor) -> Tensor:
        return part.pin_memory() if self.pin_memory and part.device.type == "cpu" else part


def move_to_device(images: LabelledImages, device: torch.device) -> None:
    """Moves images and targets to a device once, if they fit there; otherwise a note says so."""
    if device == images.served[0].device:
        return
    size = sum(part.numel() * part.element_size() for part in (images.images, images.targets))
    if device.type == "cuda" and size > (free := torch.cuda.mem_get_info(device)[0]) * SHARE:
        sizes = f"{size / GIGABYTE:.1f} GB of images, of {free / GIGABYTE:.1f} GB that are free on {device}"
        note(f"on_device leaves room for the network: {sizes}, stay in the machine's memory")
        return
    images.moved = images.images.to(device), images.targets.to(device)
