"""A short summary of labelled images."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from multilabel_pl.messages import one_line

MAX_LABELS = 20  # that are listed
MAX_PAIRS = 5


def summary(labels: Sequence[str], targets: Mapping[str, Tensor]) -> str:
    """Summarises how many images there are, their labels, those that go together most often, and what is unknown.

    Args:
        labels: The names of the labels.
        targets: (N, L): 1, 0, or NaN where unknown, of each part of the images by its name.
    """
    names = [one_line(label) for label in labels]
    everything = torch.cat(list(targets.values()))
    unknown, everything = everything.isnan(), everything.nan_to_num_(0)
    tags = everything.sum(dim=1)
    lines = [
        _images({name: len(part) for name, part in targets.items()}),
        f"tags an image: {tags.mean():.2f} ({tags.min():.0f} to {tags.max():.0f})",
        f"labels: {len(labels)}: {_most(everything.sum(dim=0), names)}",
    ]
    together = (everything.T @ everything).triu(diagonal=1)  # (L, L): images that carry both
    most = together.flatten().topk(min(MAX_PAIRS, together.numel()))
    pairs = [divmod(place, len(labels)) for place in most.indices.tolist()]
    counted = [(pair, count) for pair, count in zip(pairs, most.values.tolist(), strict=True) if count > 0]
    if counted:
        named = (f"{names[first]} and {names[second]} {count:,.0f}" for (first, second), count in counted)
        lines.append(f"most frequent pairs: {', '.join(named)}")
    return "\n".join([*lines, *_known(len(everything), unknown.sum(dim=0), names)])


def summary_of_counts(
    labels: Sequence[str], images: Mapping[str, int], positive: Sequence[int], known: Sequence[int]
) -> str:
    """Summarises images of which counts alone are known.

    Args:
        labels: The names of the labels.
        images: How many images each part has, by its name.
        positive: For each label, how many images carry it.
        known: For each label, of how many images that is known.
    """
    names, total = [one_line(label) for label in labels], sum(images.values())
    lines = [_images(images), f"labels: {len(labels)}: {_most(torch.tensor(positive), names)}"]
    return "\n".join([*lines, *_known(total, total - torch.tensor(known), names)])


def _images(counts: Mapping[str, int]) -> str:
    parts = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count > 0)
    return f"images: {sum(counts.values()):,} ({parts})"


def _known(images: int, unknown: Tensor, names: Sequence[str]) -> list[str]:
    """Says how many decisions are known, if not all, and on how many images each label, (L,), is not."""
    if not unknown.any():
        return []
    decisions = images * len(names)
    return [f"known: {decisions - unknown.sum():,} of {decisions:,} decisions; unknown: {_most(unknown, names)}"]


def _most(counts: Tensor, names: Sequence[str]) -> str:
    """Lists the labels with the highest counts, and these."""
    order = counts.argsort(descending=True, stable=True).tolist()
    listed = [f"{names[i]} {counts[i]:,.0f}" for i in order[:MAX_LABELS]]
    more = [f"and {len(order) - MAX_LABELS} more"] if len(order) > MAX_LABELS else []
    return ", ".join(listed + more)
