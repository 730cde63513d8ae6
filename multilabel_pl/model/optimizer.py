"""The optimizer, and the schedule of its learning rate."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from multilabel_pl.errors import InputError, check_at_least, check_choice

LRSchedule = Literal["constant", "one_cycle"]

KERAS_ADAM_EPSILON = 1e-7


class OneCycle(OneCycleLR):
    """torch's schedule, whose end is a user's mistake: a run was resumed with fewer steps, or smaller batches."""

    def get_lr(self) -> Any:
        """Returns the learning rates of the next step."""
        if self.last_epoch > self.total_steps:
            raise InputError(
                f"one_cycle was planned for {self.total_steps} steps, which are over: resume with the options that the "
                "run was started with, or raise --trainer.max_epochs"
            )
        return super().get_lr()


@dataclass(frozen=True)
class Optimization:
    """Adam with Keras's epsilon, decoupled weight decay and a schedule.

    Attributes:
        lr: The learning rate; with `one_cycle`, the highest.
        schedule: `constant`, or `one_cycle`: up for the first 30 % of the steps, then down to nearly 0.
        weight_decay: As in AdamW.

    Raises:
        InputError: If a value is out of range.
    """

    lr: float
    schedule: LRSchedule
    weight_decay: float

    def __post_init__(self) -> None:
        check_choice("lr_schedule", self.schedule, get_args(LRSchedule))
        if not 0 < self.lr < math.inf:
            raise InputError(f"lr must be a positive number, got {self.lr}")
        check_at_least(0, weight_decay=self.weight_decay)

    def build(self, parameters: Iterable[Tensor], steps: int) -> tuple[AdamW, OneCycle | None]:
        """Builds the optimizer, and the schedule of so many steps if there is one; without decay, AdamW is Adam."""
        optimizer = AdamW(parameters, lr=self.lr, eps=KERAS_ADAM_EPSILON, weight_decay=self.weight_decay, fused=True)
        scheduled = self.schedule == "one_cycle"
        return optimizer, OneCycle(optimizer, max_lr=self.lr, total_steps=steps) if scheduled else None

    def configure(self, parameters: Iterable[Tensor], trainer: Trainer) -> OptimizerLRScheduler:
        """Builds the optimizer and the schedule for the steps of a trainer.

        Raises:
            InputError: If the schedule needs a last step and the trainer has none.
        """
        if self.schedule == "constant":
            return self.build(parameters, 0)[0]
        steps = trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise InputError("one_cycle needs a last step: set --trainer.max_epochs or --trainer.max_steps")
        optimizer, scheduler = self.build(parameters, max(1, int(steps)))  # there is no schedule of none
        assert scheduler is not None
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
