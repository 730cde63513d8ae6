"""What an evaluation is of."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from multilabel_pl.digests import file_digest
from multilabel_pl.messages import one_line
from multilabel_pl.results.text import utf_8
from multilabel_pl.task import Task

OWN_IMAGES = "images of your own"


@dataclass(frozen=True)
class Origin:
    """Where a model is from, and what it was measured on.

    Attributes:
        task: The model's task.
        options: Its hyperparameters.
        checkpoint: Its checkpoint.
        data: The images that it was measured on, as a report names them; None if they are of a loader of the user's.
        data_options: Hyperparameters of the data module, if there is one.
        epoch: The epoch after which the checkpoint was saved, from 1, if that is known.
    """

    task: Task
    options: dict[str, Any]
    checkpoint: Path
    data: str | None = None
    data_options: dict[str, Any] = field(default_factory=dict)
    epoch: int | None = None

    @property
    def source(self) -> str:
        """The data by name, in UTF-8."""
        return utf_8(self.data or OWN_IMAGES)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the checkpoint, which takes a while to read."""
        return file_digest(self.checkpoint)

    def title(self, command: str) -> str:
        """Returns the title of a report, such as `test of runs/version_0/best.ckpt on MNIST`."""
        return one_line(f"{command} of {self.checkpoint}{f' on {self.data}' if self.data else ''}")
