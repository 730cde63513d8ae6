"""The two checkpoints of a run: its best epoch, and its newest state, from which it is resumed."""

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, StochasticWeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from multilabel_pl.errors import InputError
from multilabel_pl.file_names import BEST, LAST
from multilabel_pl.messages import note
from multilabel_pl.training.completion import is_stopped, mark_if_stopped

LOWEST_IS_BEST = ("loss", "error")  # endings of metrics' names
SHOWN = ("val_loss", "val_map", "val_exact_match")  # they fit on a line
KEPT = (*SHOWN, "val_f1_macro")
COMPARED = ("val_exact_match", "val_f1_macro", "val_map")  # at the end of a run
MUCH_BETTER = 0.02
NOT_SAVED = (0, 0)  # steps and epochs
PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")  # in the state of a ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """best.ckpt: the epoch with the best monitored value, of equals the latest.

    Args:
        monitor: The metric that decides, such as `val_map`, `val_loss` or `val_exact_match`.
        mode: Whether the highest or the lowest value is the best; if not given, the lowest of a loss or an error.
        filename: Name of the file.
        enable_version_counter: Whether a file that exists is kept, and the new one numbered.
        **kwargs: As in Lightning's ModelCheckpoint.

    Attributes:
        kept: The epoch that was saved, from 1, and its metrics, those of KEPT; empty if several are kept.
    """

    def __init__(
        self,
        monitor: str | None = "val_map",
        mode: Literal["min", "max"] | None = None,
        filename: str | None = BEST,
        enable_version_counter: bool = False,
        **kwargs: Any,
    ) -> None:
        lowest = monitor is None or monitor.endswith(LOWEST_IS_BEST)
        kwargs["mode"] = mode or ("min" if lowest else "max")
        super().__init__(monitor=monitor, filename=filename, enable_version_counter=enable_version_counter, **kwargs)
        self.kept: dict[str, float] = {}

    @property
    def state_key(self) -> str:
        """Names its state in a checkpoint, apart from any other ModelCheckpoint's."""
        return type(self).__name__

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Whether a value is among the best, equals included, as on few images many epochs have the same."""
        equal = current is not None and bool(current == self.kth_value)
        among = equal or super().check_monitor_top_k(trainer, current)
        if among and self.save_top_k == 1:
            self.kept = {"epoch": trainer.current_epoch + 1, **_values(trainer, KEPT)}
        return among

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes by what else the last epoch is much better."""
        better = [
            f"{name} {value:.4f} against {self.kept[name]:.4f}"
            for name, value in _values(trainer, COMPARED).items()
            if name in self.kept and value > self.kept[name] + MUCH_BETTER
        ]
        if better:
            note(
                f"the last epoch does better than the best by {self.monitor}: {', '.join(better)}; use last.ckpt, or "
                "choose by another metric with --best_checkpoint.monitor"
            )

    def summary(self) -> str:
        """Returns which epoch is kept, and its leading metrics."""
        values = [f"{name} {self.kept[name]:.4f}" for name in SHOWN if name in self.kept]
        return f"kept epoch {self.kept['epoch']:.0f}: {', '.join(values)}"

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run has to know."""
        return {**super().state_dict(), "kept": self.kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what it knew of its files if they are in its folder, wherever that has been moved.

        The folder of a new run has none. Values of another metric can't be compared with those to come.
        """
        if state_dict["monitor"] != self.monitor:
            note(f"best.ckpt was chosen by {state_dict['monitor']}, and is chosen by {self.monitor} from now on")
            return
        folder = Path(self.dirpath or "")
        moved = {name: str(folder / Path(state_dict[name]).name) for name in PATHS if state_dict[name]}
        scores = {str(folder / Path(path).name): score for path, score in state_dict["best_k_models"].items()}
        if all(Path(path).is_file() for path in [*moved.values(), *scores]):
            super().load_state_dict({**state_dict, **moved, "best_k_models": scores, "dirpath": self.dirpath})
            self.current_score = state_dict["current_score"]  # which Lightning saves, but doesn't restore
            self.kept = state_dict.get("kept", {})

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Writes the curves first, so that what led to a checkpoint is never missing beside it."""
        _save_loggers(trainer)


class LastCheckpoint(Checkpoint):
    """last.ckpt: the newest state, from which a run continues as if it had never stopped.

    It is written at the end of epochs and of the run and, if asked for, within epochs: then before a batch rather than
    after one, as a ModelCheckpoint does, so that a validation between the two is done.

    Args:
        dirpath: Folder of the file; that of the run if not given.
        every_n_epochs: Epochs between two saves.
        every_n_train_steps: Steps between two saves within epochs.
        train_time_interval: Time between two saves within epochs.

    Raises:
        InputError: If a number is below 1.
    """

    def __init__(
        self,
        dirpath: str | None = None,
        every_n_epochs: int = 1,
        every_n_train_steps: int | None = None,
        train_time_interval: timedelta | None = None,
    ) -> None:
        for name, number in {"every_n_epochs": every_n_epochs, "every_n_train_steps": every_n_train_steps}.items():
            if number is not None and number < 1:
                raise InputError(f"last_checkpoint.{name} must be at least 1, got {number}")
        self.dirpath = dirpath
        self.every_n_epochs = every_n_epochs
        self.every_n_train_steps = every_n_train_steps
        self.train_time_interval = train_time_interval
        self.saved = NOT_SAVED
        self.saved_at = 0.0
        self.is_finished = False

    def path(self, trainer: Trainer) -> Path:
        """Returns the file to write."""
        return Path(self.dirpath or trainer.default_root_dir) / f"{LAST}.ckpt"

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remembers whether the run that is resumed was ended by a callback."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        own = Path(str(trainer.ckpt_path)).resolve() == self.path(trainer).resolve()
        self.is_finished = own and is_stopped(trainer, checkpoint)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves a finished run as it is, this once."""
        if self.is_finished:
            trainer.should_stop = True
        self.is_finished = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self.saved, self.saved_at = _place(trainer), time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Saves within an epoch, if it is time."""
        if is_between_steps(trainer, batch_idx) and self._is_time(trainer):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves at the end of an epoch."""
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves at the end of the run; a callback may have averaged the weights since the end of the last epoch."""
        if any(isinstance(callback, StochasticWeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined] # undeclared
            self.saved = NOT_SAVED
        self.save(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Writes the curves first, as for best.ckpt, and marks a run that a callback has ended."""
        _save_loggers(trainer)
        mark_if_stopped(trainer, checkpoint)

    def save(self, trainer: Trainer) -> None:
        """Saves, unless this very state is saved already."""
        if _place(trainer) == self.saved or trainer.fast_dev_run:  # type: ignore[attr-defined] # undeclared
            return
        self.saved, self.saved_at = _place(trainer), time.monotonic()
        trainer.save_checkpoint(self.path(trainer), weights_only=False)

    def _is_time(self, trainer: Trainer) -> bool:
        if self.every_n_train_steps is not None and trainer.global_step % self.every_n_train_steps == 0:
            return True
        if self.train_time_interval is None:
            return False
        is_due = time.monotonic() - self.saved_at >= self.train_time_interval.total_seconds()
        return trainer.strategy.broadcast(is_due)  # all processes save together


def is_between_steps(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a batch begins within an epoch, and with it another step of the optimizer."""
    return batch_idx > 0 and batch_idx % trainer.accumulate_grad_batches == 0


def _place(trainer: Trainer) -> tuple[int, int]:
    """Returns the steps and the epochs that are done; between the two at the end of an epoch is its validation."""
    return trainer.global_step, trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined] # it has


def _values(trainer: Trainer, names: Sequence[str]) -> dict[str, float]:
    return {name: trainer.callback_metrics[name].item() for name in names if name in trainer.callback_metrics}


def _save_loggers(trainer: Trainer) -> None:
    for logger in trainer.loggers:
        logger.save()
