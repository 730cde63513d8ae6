"""The end of a run whose folder is deleted."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from multilabel_pl.errors import InputError


class FolderGuard(Callback):
    """Ends a run whose folder is gone: TensorBoard's thread would end in a traceback, and a checkpoint in a new folder.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Looks for it as often as something is logged."""
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined] # set, but undeclared
        if every and trainer.global_step % every == 0:
            self._check(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Looks for it before a checkpoint is written."""
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        if not self.folder.is_dir():
            trainer.loggers = []  # which would write to it at the end
            raise InputError(f"{self.folder} was deleted during the run")
