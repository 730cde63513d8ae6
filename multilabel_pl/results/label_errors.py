"""Decisions of the data that are likely wrong, found by cleanlab (the extra `cleanlab`)."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.image_tables import image_names, write_image_table
from multilabel_pl.results.text import table, utf_8

FILE = "label_errors.csv"
FEW = 5  # images with or without a label, below which nothing is estimated of it
SHOWN = 20  # in a report
HEADER = ("label", "given", "suggested", "probability")


class LabelErrors(NamedTuple):
    """Decisions that are likely wrong, the likeliest first.

    Attributes:
        images: Indices of the images, int64 (M,).
        labels: Indices of the labels, int64 (M,).
        given: What the data say, bool (M,).
        probabilities: The model's, of the label, float32 (M,).
    """

    images: Tensor
    labels: Tensor
    given: Tensor
    probabilities: Tensor


def find_label_errors(evaluation: Evaluation) -> LabelErrors:
    """Finds known decisions that are likely wrong, each label on its own.

    Confident learning (Northcutt et al., 2021, https://doi.org/10.1613/jair.1.12125) estimates from the probabilities
    how many of a label's decisions are wrong, and takes as many of those that are least likely. The decisions of all
    labels are then ranked by the probability of what is given.

    Args:
        evaluation: Of images that the model was not trained on.
    """
    from cleanlab.filter import find_label_issues  # takes a while to import

    suspects = np.zeros(evaluation.targets.shape, dtype=bool)
    for label in range(len(evaluation.labels)):
        known = evaluation.known[:, label].numpy()
        given = evaluation.truth[:, label].numpy()[known].astype(np.int64)
        if FEW <= given.sum() <= len(given) - FEW:
            probability = evaluation.probabilities[:, label].double().numpy()[known]
            both = np.stack([1 - probability, probability], axis=1)
            suspects[known, label] = find_label_issues(given, both, filter_by="low_normalized_margin", n_jobs=1)
    images, labels = torch.from_numpy(suspects).nonzero(as_tuple=True)
    given, probabilities = evaluation.truth[images, labels], evaluation.probabilities[images, labels]
    order = probabilities.where(given, 1 - probabilities).argsort(stable=True)
    return LabelErrors(images[order], labels[order], given[order], probabilities[order])


def describe_label_errors(evaluation: Evaluation, found: LabelErrors) -> str:
    """Says how many there are, and which are shown."""
    count, shown = len(found.images), min(len(found.images), SHOWN)
    decisions = f"{count:,} of {int(evaluation.known.sum()):,} known decisions of the data are likely wrong"
    return f"{decisions}, all in {FILE}; most likely these {shown}:" if count else f"{decisions}."


def write_label_errors(evaluation: Evaluation, found: LabelErrors, images: LabelledDataset | None, path: Path) -> str:
    """Writes all of them as a CSV table, and returns a section of the report with the first of them.

    Args:
        evaluation: What they were found in.
        found: What `find_label_errors` has found.
        images: The images, if they are known.
        path: Where to.
    """
    rows = [
        (index, (evaluation.labels[label], int(given), int(not given), f"{probability:.6f}"))
        for index, label, given, probability in zip(*(part.tolist() for part in found), strict=True)
    ]
    write_image_table(images, HEADER, rows, path)
    text = describe_label_errors(evaluation, found)
    if not rows:
        return text
    column, name = image_names(images)
    shown = [[utf_8(str(cell)) for cell in (name(index), *cells)] for index, cells in rows[:SHOWN]]
    return f"{text}\n\n{table([column, *HEADER], shown)}"
