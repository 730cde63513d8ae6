"""Graceful shutdown on SIGINT and SIGTERM."""

import signal
import sys
from functools import partial
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from multilabel_pl.errors import SIGNALLED
from multilabel_pl.messages import note
from multilabel_pl.training.checkpointing import LastCheckpoint, is_between_steps


class GracefulShutdown(Callback):
    """Stops a run between two batches after a signal, with its state in last.ckpt.

    A second signal stops it at once, as the first one does with everything but a fit.
    """

    def __init__(self) -> None:
        self.received = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replaces Lightning's handlers, which would stop within a batch, or not at all."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, partial(self._receive, trainer))

    on_validation_start = on_test_start = on_predict_start = on_train_start

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stops between two batches."""
        if is_between_steps(trainer, batch_idx):
            self._stop_if_asked(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Stops after a batch of validation, which a resumed run repeats."""
        self._stop_if_asked(trainer)

    def _receive(self, trainer: Trainer, number: int, _: FrameType | None) -> None:
        if number == signal.SIGTERM and trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(number)  # for the processes that it has launched; Ctrl-C reaches them anyway
        if self.received or trainer.state.fn != TrainerFn.FITTING:
            sys.exit(SIGNALLED + number)
        self.received = number

    def _stop_if_asked(self, trainer: Trainer) -> None:
        received = self.received
        if trainer.world_size > 1:  # all processes stop at the same batch
            own = torch.tensor(received, device=trainer.strategy.root_device)
            received = int(trainer.strategy.reduce(own, reduce_op="max"))
        if received == 0:
            return
        for checkpoint in trainer.checkpoint_callbacks:
            if isinstance(checkpoint, LastCheckpoint):
                checkpoint.save(trainer)
                note(f"stopped after step {trainer.global_step}; to continue, add --ckpt_path last")
        sys.exit(SIGNALLED + received)
