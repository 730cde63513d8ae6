"""The optimizer, and the schedule of its learning rate."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from multilabel_pl.errors import InputError, check_at_least, check_choice
from multilabel_pl.model.torch_optimizers import OptimizerOptions, build_optimizer, check_optimizer_options

LRSchedule = Literal["constant", "one_cycle"]


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
    """An optimizer of torch's by name, and a schedule. AdamW, without decay and with Keras's epsilon, is Keras's Adam.

    Attributes:
        lr: The learning rate; with `one_cycle`, the highest.
        schedule: `constant`, or `one_cycle`: up for the first 30 % of the steps, then down to nearly 0.
        weight_decay: As the optimizer has it.
        optimizer: Its name.
        options: Its other options; torch's defaults stand for those not given.

    Raises:
        InputError: If a value is out of range, or no option of the optimizer.
    """

    lr: float
    schedule: LRSchedule
    weight_decay: float
    optimizer: str = "AdamW"
    options: OptimizerOptions | None = None

    def __post_init__(self) -> None:
        check_choice("lr_schedule", self.schedule, get_args(LRSchedule))
        if not 0 < self.lr < math.inf:
            raise InputError(f"lr must be a positive number, got {self.lr}")
        check_at_least(0, weight_decay=self.weight_decay)
        check_optimizer_options(self.optimizer, self.options or {})
        self._optimizer([torch.zeros(1, device="cpu")])  # torch knows the ranges

    def build(self, parameters: Iterable[Tensor], steps: int) -> tuple[Optimizer, OneCycle | None]:
        """Builds the optimizer, and the schedule of so many steps if there is one."""
        optimizer = self._optimizer(parameters)
        if self.schedule != "one_cycle":
            return optimizer, None
        # The schedule moves Adam's first beta against the learning rate, unless it is given. The momentum of others,
        # by default 0, stays as it is.
        moves = "betas" in optimizer.defaults and "betas" not in (self.options or {})
        return optimizer, OneCycle(optimizer, max_lr=self.lr, total_steps=steps, cycle_momentum=moves)

    def _optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        return build_optimizer(self.optimizer, parameters, self.lr, self.weight_decay, self.options or {})

    def configure(self, parameters: Iterable[Tensor], trainer: Trainer) -> OptimizerLRScheduler:
        """Builds the optimizer and the schedule for the steps of a trainer.

        Raises:
            InputError: If the schedule needs a last step and the trainer has none, or a callback looks for a rate that
                the schedule would not take.
        """
        if self.schedule == "constant":
            return self.build(parameters, 0)[0]
        if any(isinstance(callback, LearningRateFinder) for callback in trainer.callbacks):  # type: ignore[attr-defined] # undeclared
            raise InputError(
                "LearningRateFinder can't set the rate of one_cycle: let it find one with lr_schedule constant, and "
                "then give that as lr"
            )
        steps = trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise InputError("one_cycle needs a last step: set --trainer.max_epochs or --trainer.max_steps")
        optimizer, scheduler = self.build(parameters, max(1, int(steps)))  # there is no schedule of none
        assert scheduler is not None
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
