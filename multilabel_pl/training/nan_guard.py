"""Detects non-finite losses without a device sync per step."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from multilabel_pl.errors import InputError


class NanGuard(Callback):
    """Stops a run whose loss is not a finite number, before a checkpoint is written.

    The losses of many steps are looked at together: when one of them is logged, and before a validation or a
    checkpoint.
    """

    def __init__(self) -> None:
        self.losses: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collects the loss of a step, which a model of the user's may skip."""
        if (loss := (outputs or {}).get("loss")) is not None:
            self.losses.append(loss)
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined] # set, but undeclared
        if every and (batch_idx + 1) % every == 0:
            self._check(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps thresholds from being learned from what is not a number."""
        self._check(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keeps a diverged run from replacing its last good checkpoint."""
        self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the last losses, where no checkpoint is written."""
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        if not self.losses:
            return
        finite = torch.stack(self.losses).isfinite().tolist()
        self.losses.clear()
        if not all(finite):
            step = trainer.fit_loop.total_batch_idx + 1 - len(finite) + finite.index(False)
            raise InputError(f"the loss of step {step} was not a finite number: try a lower --model.lr")
