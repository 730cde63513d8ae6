"""The run of a `fit`: its folder, and the options that are saved there and read again when it is resumed."""

import shlex
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse.typing import register_type
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from multilabel_pl.cli.commands import program
from multilabel_pl.cli.suggestions import suggestion
from multilabel_pl.errors import InputError
from multilabel_pl.file_names import CONFIG, CURVES
from multilabel_pl.messages import say
from multilabel_pl.results.run_options import damaged, read_config
from multilabel_pl.training.checkpointing import KEPT, BestCheckpoint, LastCheckpoint
from multilabel_pl.training.completion import is_users_own
from multilabel_pl.training.csv_logger import ResumableCSVLogger
from multilabel_pl.training.displays import as_list
from multilabel_pl.training.folder_guard import FolderGuard
from multilabel_pl.training.logger_artifacts import log_artifacts
from multilabel_pl.training.runs import Run
from multilabel_pl.training.trainer import Trainer

SEARCHES = (BatchSizeFinder, LearningRateFinder)
register_type(torch.device, serializer=str)  # an option of StochasticWeightAveraging, which config.yaml has to keep
GROUPS = ("trainer", "best_checkpoint", "last_checkpoint")  # the model's and the data's are in the checkpoint


class RunConfig(SaveConfigCallback):
    """Saves the options of a run in its folder, whatever its loggers are."""

    def save_config(self, trainer: pl.Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes config.yaml."""
        folder = getattr(trainer, "run_folder", None)
        if folder is None:
            return
        options = self.config.clone()
        options.ckpt_path = None  # to repeat a run is not to resume it
        self.parser.save(options, folder / CONFIG, overwrite=True, multifile=False)


def options_of_run(run: Run, known: Collection[str]) -> dict[str, Any]:
    """Returns the options that a run was started with, by dotted names.

    Args:
        run: The run.
        known: Names of all options: a run of another version of Lightning may have had others.

    Raises:
        InputError: If its config.yaml can't be read.
    """
    recorded = read_config(run.folder) or {}
    groups = {group: recorded.get(group) or {} for group in GROUPS}
    if not all(isinstance(values, dict) for values in groups.values()):
        raise damaged(run.folder)
    options = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    options["seed_everything"] = recorded.get("seed_everything")
    options.pop("trainer.default_root_dir", None)  # where the run has been found, whatever it was called then
    return {name: value for name, value in options.items() if name in known and value is not None}


def callbacks_of_run(given: Callback | Sequence[Callback] | None, resumes: bool) -> list[Callback]:
    """Returns the callbacks that are asked for, without searches if a run is resumed: it keeps what they have found.

    Args:
        given: One or several.
        resumes: Whether a run continues from its checkpoint.
    """
    return [callback for callback in as_list(given) if not (resumes and isinstance(callback, SEARCHES))]


def check_monitors(callbacks: Iterable[Callback], known: Collection[str]) -> None:
    """Checks that the metrics that callbacks monitor will be logged, unless a callback of the user's may log more.

    Args:
        callbacks: All of them.
        known: Names of the metrics of a fit.

    Raises:
        InputError: If there is no such metric.
    """
    if any(map(is_users_own, callbacks)):
        return
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in known:
            option = "--best_checkpoint.monitor" if isinstance(callback, BestCheckpoint) else type(callback).__name__
            meant = suggestion(monitor, known)
            raise InputError(f"{option}: no metric {monitor} is logged{meant} there are {', '.join(KEPT)} and others")


def write_to(run: Run, trainer: Trainer, step: int, log: bool) -> None:
    """Lets a trainer write its checkpoints and curves to the folder of a run.

    Args:
        run: The run, whose folder exists.
        trainer: The trainer.
        step: Steps that the run has done already.
        log: Whether to log curves: in metrics.csv, from which reports draw them, and by the user's loggers, or for
            TensorBoard if there are none.
    """
    trainer.run_folder = run.folder
    trainer.callbacks.insert(0, FolderGuard(run.folder))  # before those that write checkpoints
    for checkpoint in trainer.checkpoint_callbacks:
        if isinstance(checkpoint, BestCheckpoint | LastCheckpoint):
            checkpoint.dirpath = checkpoint.dirpath or str(run.folder)
    if log:
        root, version = run.folder.parent, run.version
        events = TensorBoardLogger(root, "", version, default_hp_metric=False, purge_step=step or None)
        trainer.loggers = [*(trainer.loggers or [events]), ResumableCSVLogger(run.folder / CURVES, step)]


def report_end(trainer: Trainer) -> None:
    """Says which epoch of a run was kept, where, and how to test it; or that nothing was left to do.

    Loggers that keep artifacts get the options and the curves of the run.
    """
    if trainer.run_folder is None:
        return
    if trainer.history:
        log_artifacts(trainer.loggers, [trainer.run_folder / CONFIG, trainer.run_folder / CURVES], "fit")
    if not trainer.checkpoint_callbacks:
        return
    if not trainer.history:
        say("\nnothing was trained: no step was left to do; raise --trainer.max_epochs, or what else limits it")
        return
    best = next((each for each in trainer.checkpoint_callbacks if isinstance(each, BestCheckpoint)), None)
    last = next(each for each in trainer.checkpoint_callbacks if isinstance(each, LastCheckpoint))
    if best is not None and best.kept:
        say(f"\n{best.summary()}")
    path = best.best_model_path if best is not None and best.best_model_path else str(last.path(trainer))
    say(f"trained: {path}")
    say(f"test it: {shlex.join([*program().split(), 'test', path])}")
