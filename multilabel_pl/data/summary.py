"""A short summary of labelled images."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

MAX_LABELS = 20  # that are listed
MAX_PAIRS = 5


def summary(labels: Sequence[str], targets: Mapping[str, Tensor]) -> str:
    """Says how many images there are, what labels they carry, and which labels go together most often.

    Args:
        labels: The names of the labels.
        targets: (N, L) of 0 and 1, of each part of the images by its name.
    """
    everything = torch.cat(list(targets.values()))
    parts = ", ".join(f"{len(part):,} {name}" for name, part in targets.items() if len(part) > 0)
    tags = everything.sum(dim=1)
    lines = [
        f"images: {len(everything):,} ({parts})",
        f"tags an image: {tags.mean():.2f} ({tags.min():.0f} to {tags.max():.0f})",
        f"labels: {len(labels)}: {_most(everything.sum(dim=0), labels, MAX_LABELS)}",
    ]
    together = (everything.T @ everything).triu(diagonal=1)  # (L, L): images that carry both
    pairs = [f"{first} and {second}" for first in labels for second in labels]
    if frequent := _most(together.flatten(), pairs, MAX_PAIRS, others=False):
        lines.append(f"most frequent pairs: {frequent}")
    return "\n".join(lines)


def _most(counts: Tensor, names: Sequence[str], number: int, others: bool = True) -> str:
    """Lists the most frequent, with their counts."""
    order = counts.argsort(descending=True, stable=True).tolist()
    listed = [f"{names[i]} {counts[i]:,.0f}" for i in order[:number] if others or counts[i] > 0]
    more = [f"and {len(order) - number} more"] if others and len(order) > number else []
    return ", ".join(listed + more)
