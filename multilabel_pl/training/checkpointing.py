"""The two checkpoints of a run: its best epoch, and its newest state, from which a training goes on."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """best.ckpt: the epoch with the best monitored value."""

    @property
    def state_key(self) -> str:
        """Names its state in a checkpoint, apart from any other ModelCheckpoint's."""
        return type(self).__name__

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what it knew of its files if they are in its folder, wherever that has moved to.

        The folder of a new run has none.
        """
        folder = Path(self.dirpath or "")
        moved = {
            name: str(folder / Path(path).name) for name, path in state_dict.items() if name.endswith("_path") and path
        }
        scores = {str(folder / Path(path).name): score for path, score in state_dict["best_k_models"].items()}
        if all(Path(path).is_file() for path in [*moved.values(), *scores]):
            super().load_state_dict({**state_dict, **moved, "best_k_models": scores, "dirpath": self.dirpath})

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        """Writes the curves first: what led to a checkpoint is never missing beside it."""
        for logger in trainer.loggers:
            logger.save()
        super()._save_checkpoint(trainer, filepath)


class LastCheckpoint(BestCheckpoint):
    """last.ckpt: the newest state, from which a training goes on as if it had never stopped.

    It is written at the end of every epoch and of the training, and, if `every_n_train_steps` or `train_time_interval`
    is given, within epochs. ModelCheckpoint(save_last=True) would not do: it writes last.ckpt only when the monitored
    value has improved.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: LightningModule) -> None:
        """Lets a training with a number of steps, resumed between two epochs, begin the next one.

        Lightning would end the last one once more.
        """
        super().on_train_start(trainer, pl_module)
        loop = trainer.fit_loop
        if loop.restarted_on_epoch_end:
            loop.reset_restart_stage()
            loop.epoch_progress.increment_completed()
            loop.epoch_loop.restarting = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Saves within an epoch, if it is time.

        That is not at the end of the batch before, as a ModelCheckpoint does: a validation that follows it is done, and
        what it has logged is written.
        """
        if is_between_steps(trainer, batch_idx):
            super().on_train_batch_end(trainer, pl_module, None, batch, batch_idx)

    def on_train_batch_end(self, *args: Any) -> None:
        """Waits for the next batch."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: LightningModule) -> None:
        """Waits for the end of the epoch."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: LightningModule) -> None:
        """Saves at the end of an epoch."""
        if (trainer.current_epoch + 1) % (self.every_n_epochs or 1) == 0:
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: LightningModule) -> None:
        """Saves at the end of the training."""
        self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Saves, unless this very state is saved already."""
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Lets a resumed training begin anew what has only begun: a batch, or a validation.

        To Lightning, it then looks as if the batch before had come to its end, or the validation to its first batch.
        """
        loops = checkpoint["loops"]["fit_loop"]
        batches, validation = loops["epoch_loop.batch_progress"], loops["epoch_loop.val_loop.batch_progress"]
        if batches["current"]["ready"] > batches["current"]["started"]:
            batches["is_last_batch"] = False
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
            for counts in (batches["total"], batches["current"]):
                counts.update(ready=counts["started"], completed=counts["completed"] - 1)
        if validation["current"]["ready"] > validation["current"]["completed"]:
            for counts in (validation["total"], validation["current"]):
                counts.update(ready=1, started=1, processed=0, completed=0)


def is_between_steps(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Tells whether a batch begins within an epoch, and with it another step of the optimizer."""
    return batch_idx > 0 and batch_idx % trainer.accumulate_grad_batches == 0
