"""Ctrl-C and SIGTERM, after which nothing is lost."""

import signal
import sys
from functools import partial
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.trainer.states import TrainerFn

from multilabel_pl.messages import note
from multilabel_pl.training.checkpointing import LastCheckpoint, is_between_steps

STATUS = 128  # the exit status of what a signal has ended, plus the signal's number


class Interruption(Callback):
    """Stops a training between two batches once a signal has come, with its state in last.ckpt.

    A second signal stops it at once, as the first one does with all that is no training.
    """

    def __init__(self) -> None:
        self.received = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: LightningModule) -> None:
        """Takes the signals over from Lightning, which would stop in the midst of a batch, or not at all."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, partial(self._receive, trainer))

    on_validation_start = on_test_start = on_predict_start = on_train_start

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stops between two batches."""
        if is_between_steps(trainer, batch_idx):
            self._stop_if_asked(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stops after a batch of validation, which a resumed training begins anew."""
        self._stop_if_asked(trainer)

    def _receive(self, trainer: pl.Trainer, number: int, _: FrameType | None) -> None:
        if number == signal.SIGTERM and trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(number)  # for the processes that it has launched; Ctrl-C reaches them anyway
        if self.received or trainer.state.fn != TrainerFn.FITTING:
            sys.exit(STATUS + number)
        self.received = number

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        received = self.received
        if trainer.world_size > 1:  # all processes stop at the same batch
            own = torch.tensor(received, device=trainer.strategy.root_device)
            received = int(trainer.strategy.reduce(own, reduce_op="max"))
        if received == 0:
            return
        for checkpoint in trainer.checkpoint_callbacks:
            if isinstance(checkpoint, LastCheckpoint):
                checkpoint.save(trainer)
                note(f"stopped after step {trainer.global_step}; to go on, add --ckpt_path last")
        sys.exit(STATUS + received)
