"""Callbacks for `--trainer.callbacks` that interrupt or spoil a run, or record what each of its processes learned."""

import os
import resource
import shutil
import signal
import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch import Callback, LightningModule

from multilabel_pl import MultiLabelClassifier

DISK = 100_000  # bytes, less than a checkpoint needs


class Strike(Callback):
    """Sends a signal to its own process.

    Args:
        name: The signal, or `full disk`: the process is then killed while it writes the next checkpoint.
        moment: Name of the callback hook.
        step: The hook is ignored before this global step.
    """

    def __init__(self, name: str, moment: str, step: int) -> None:
        self.name = name
        self.step = step
        self.struck = False
        setattr(self, moment, self.strike)

    def strike(self, trainer: pl.Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step < self.step or self.struck:
            return
        self.struck = True
        if self.name == "full disk":
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (DISK, DISK))
        else:
            os.kill(os.getpid(), getattr(signal, self.name))


class Spoil(Callback):
    """Makes all weights infinite before a step.

    Args:
        step: The global step.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step == self.step:
            for parameter in pl_module.parameters():
                parameter.data.fill_(torch.inf)


class Delete(Callback):
    """Deletes a folder before a step.

    Args:
        folder: The folder.
        step: The global step.
    """

    def __init__(self, folder: str, step: int) -> None:
        self.folder = folder
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step == self.step:
            shutil.rmtree(self.folder)


class Record(Callback):
    """Saves the thresholds of each process."""

    def on_fit_end(self, trainer: pl.Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, MultiLabelClassifier)
        torch.save(pl_module.decision.thresholds, f"thresholds_{trainer.global_rank}.pt")


class StrikePrediction(Callback):
    """Sends a signal to its own process after a batch of a prediction.

    Args:
        name: The signal.
        batch: The index of the batch.
    """

    def __init__(self, name: str, batch: int) -> None:
        self.name = name
        self.batch = batch

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if batch_idx == self.batch:
            os.kill(os.getpid(), getattr(signal, self.name))


class Linger(Callback):
    """Makes every batch of a prediction take a while, on the fastest machine.

    Args:
        seconds: How long.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_predict_batch_end(self, *_: Any) -> None:
        time.sleep(self.seconds)
