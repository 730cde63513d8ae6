"""The true tags of images by name, with a mark before those that nobody knows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from multilabel_pl.data.annotations.records import UNKNOWN_MARK
from multilabel_pl.model.prediction import name_tags


def name_true_tags(targets: Tensor, labels: Sequence[str]) -> list[list[str]]:
    """Names the true tags of every image, and after them its unknown labels, as `?cat`; tables are read like that.

    Args:
        targets: (N, L): 1, 0, or NaN where unknown.
        labels: Names of the labels.
    """
    true = name_tags(targets > 0, labels)
    unknown = name_tags(torch.isnan(targets), [UNKNOWN_MARK + label for label in labels])
    return [known + marked for known, marked in zip(true, unknown, strict=True)]
