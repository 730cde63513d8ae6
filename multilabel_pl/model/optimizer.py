"""The optimizer, and the schedule of its learning rate."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from multilabel_pl.errors import InputError, check_choice

LRSchedule = Literal["constant", "one_cycle"]

KERAS_ADAM_EPSILON = 1e-7


class OneCycle(OneCycleLR):
    """OneCycleLR that a resumed training may make longer, as it keeps its own number of steps."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over how many steps have been made."""
        own = {"total_steps": self.total_steps, "_schedule_phases": self._schedule_phases}
        super().load_state_dict({**state_dict, **own})


@dataclass(frozen=True)
class Optimization:
    """Adam with Keras's epsilon, decoupled weight decay and a schedule.

    Attributes:
        lr: The learning rate; with `one_cycle`, the highest.
        schedule: `constant`, or `one_cycle`: up for the first third of the training, then down to nothing.
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
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay must be at least 0, got {self.weight_decay}")

    def optimizer(self, parameters: Iterable[Tensor]) -> AdamW:
        """Makes the optimizer; without weight decay, AdamW is Adam."""
        return AdamW(parameters, lr=self.lr, eps=KERAS_ADAM_EPSILON, weight_decay=self.weight_decay, fused=True)

    def scheduler(self, optimizer: AdamW, steps: float) -> OneCycleLR:
        """Makes the `one_cycle` schedule, over so many steps.

        Raises:
            InputError: If there is no end to the steps.
        """
        if math.isinf(steps):
            raise InputError("one_cycle needs an end of the training: set --trainer.max_epochs or --trainer.max_steps")
        return OneCycle(optimizer, max_lr=self.lr, total_steps=int(steps))
