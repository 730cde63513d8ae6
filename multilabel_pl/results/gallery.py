"""Images as small as they can be looked at, with what is wrong of them, for pages."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.messages import abridged
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.prediction import name_tags
from multilabel_pl.results.heat_maps import Explain, draw_heat_maps
from multilabel_pl.results.image_tables import image_names
from multilabel_pl.results.label_errors import SHOWN, LabelErrors
from multilabel_pl.results.true_tags import name_true_tags

MAX_MISTAKES = 200
BATCH = 32  # images in memory at a time
LONGEST = 160  # pixels of a side
SMALL = 64  # pixels, up to which an image is shown in squares, and kept without loss
QUALITY = 85  # of JPEG


@dataclass(frozen=True)
class Exhibit:
    """An image, and what is said of it.

    Attributes:
        source: The image, as a data URL.
        is_small: Whether its pixels are few enough to be seen.
        name: Its path or index.
        lines: What is said of it.
        mistakes: What is said of it in red.
        missed: Indices of the labels that it misses, with blanks between them.
        wrong: Indices of the labels that it wrongly has, likewise.
        heat_map: What speaks for a label, drawn over the image, as a data URL, if that was asked for.
        explained: The label.
    """

    source: str
    is_small: bool
    name: str
    lines: Sequence[str]
    mistakes: Sequence[str]
    missed: str = ""
    wrong: str = ""
    heat_map: str | None = None
    explained: str | None = None


def exhibit_mistakes(
    evaluation: Evaluation, images: LabelledDataset, explain: Explain | None = None
) -> Iterator[Exhibit]:
    """Yields wrongly tagged images, those with the highest loss first; of many, the worst of every label.

    Args:
        evaluation: What the tags are of.
        images: The images evaluated, in the order of the evaluation.
        explain: What makes heat maps, of the label that adds most to the loss of an image, if they are asked for.
    """
    chosen = _worst_of_every_label(evaluation)
    labels = _worst_label(evaluation, chosen)
    missed, wrong = evaluation.missed[chosen], evaluation.mistaken[chosen]
    true = name_true_tags(evaluation.targets[chosen], evaluation.labels)
    _, name = image_names(images)
    for row, (image, heat) in enumerate(_fetched(images, chosen, labels, explain)):
        index = int(chosen[row])
        kinds = {"missed": missed[row], "wrong": wrong[row]}
        yield Exhibit(
            source=_encoded(image),
            is_small=_is_small(image),
            name=name(index),
            lines=[f"true: {abridged(true[row]) or 'no tag'}"],
            mistakes=[f"{kind}: {_tags(evaluation, index, tags)}" for kind, tags in kinds.items() if tags.any()],
            **{kind: " ".join(map(str, tags.nonzero()[:, 0].tolist())) for kind, tags in kinds.items()},
            heat_map=_encoded(heat) if heat is not None else None,
            explained=evaluation.labels[int(labels[row])] if heat is not None else None,
        )


def exhibit_label_errors(evaluation: Evaluation, found: LabelErrors, images: LabelledDataset) -> Iterator[Exhibit]:
    """Yields the images of the decisions that are most likely wrong in the data."""
    first = LabelErrors(*(part[:SHOWN] for part in found))
    _, name = image_names(images)
    for (image, _), index, label, given, probability in zip(
        _fetched(images, first.images, first.labels, None), *(part.tolist() for part in first), strict=True
    ):
        said = f"{evaluation.labels[label]}: {'given' if given else 'not given'}"
        doubt = f"probability {probability:.4f}"
        yield Exhibit(_encoded(image), _is_small(image), name(index), [said], [doubt])


def _worst_of_every_label(evaluation: Evaluation) -> Tensor:
    """Returns the indices of so many wrongly tagged images, the worst first, that labels have a fair share of them."""
    numbers, _ = evaluation.worst_first
    wrong = (evaluation.missed | evaluation.mistaken)[numbers]  # (M, L)
    place = wrong.cumsum(dim=0, dtype=torch.int32).where(wrong, len(numbers)).amin(dim=1)  # the best of an image's
    chosen = place.argsort(stable=True)[:MAX_MISTAKES].sort().values
    return numbers[chosen]


def _worst_label(evaluation: Evaluation, chosen: Tensor) -> Tensor:
    """Returns of each image the wrongly decided label that is furthest from the truth, (M,)."""
    probabilities, truth = evaluation.probabilities[chosen], evaluation.truth[chosen]
    error = (probabilities - truth.float()).abs()
    return error.where(evaluation.missed[chosen] | evaluation.mistaken[chosen], -1).argmax(dim=1)


def _tags(evaluation: Evaluation, index: int, chosen: Tensor) -> str:
    [names] = name_tags(chosen[None], evaluation.labels)
    values = evaluation.probabilities[index, chosen].tolist()
    return abridged([f"{name} ({value:.2f})" for name, value in zip(names, values, strict=True)])


def _fetched(
    images: LabelledDataset, chosen: Tensor, labels: Tensor, explain: Explain | None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yields images uint8 (C, H, W) and, if they are asked for, heat maps over them (3, H, W)."""
    for start in range(0, len(chosen), BATCH):
        rows = slice(start, start + BATCH)
        batch, _ = images.__getitems__(chosen[rows].tolist())
        maps = draw_heat_maps(explain, batch, labels[rows]) if explain is not None else [None] * len(batch)
        yield from zip(batch, maps, strict=True)


def _is_small(image: Tensor) -> bool:
    return max(image.shape[1:]) <= SMALL


def _encoded(image: Tensor) -> str:
    """Returns an image uint8 (C, H, W), C of 1 or 3, as a data URL."""
    array = image.permute(1, 2, 0).contiguous().numpy()  # (H, W, C)
    shown = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    shown.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    if _is_small(image):
        shown.save(buffer, "PNG", optimize=True)
        kind = "png"
    else:
        shown.save(buffer, "JPEG", quality=QUALITY)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
