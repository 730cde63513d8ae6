"""A model that is served."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from multilabel_pl.export.interface import Metadata
from multilabel_pl.task import Task

Tagger: TypeAlias = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.bool_]]]


@dataclass(frozen=True)
class ServedModel:
    """A model that is ready to tag images.

    Attributes:
        task: Its task.
        about: What it says of itself; see `export.metadata`.
        tag: Takes images uint8 (B, C, H, W), returns probabilities float32 (B, L) and tags bool (B, L).
    """

    task: Task
    about: Metadata
    tag: Tagger

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds by the names of their labels."""
        return dict(zip(self.task.labels, self.about["thresholds"], strict=True))
