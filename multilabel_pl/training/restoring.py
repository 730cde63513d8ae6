"""Checks that a checkpoint fits a trainer, before Lightning takes anything from it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import (
    EarlyStopping,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus

from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.errors import InputError
from multilabel_pl.schema.content import ENTRIES, RESTORED, RESUMED
from multilabel_pl.schema.forms import (
    ANYTHING,
    COUNT,
    DICT,
    LIST,
    NONE,
    NUMBER,
    TEXT,
    Form,
    alike,
    check_form,
    dict_of,
    either,
    exactly,
    record,
    whole,
    whole_number,
)
from multilabel_pl.schema.tensors import MAYBE_SCORE, SCORE
from multilabel_pl.training.averaging_forms import check_averaging, stochastic_averaging_form
from multilabel_pl.training.checkpoint_io import AtomicCheckpointIO
from multilabel_pl.training.optimizer_forms import check_optimizers

LEGACY_SCALER = "native_amp_scaling_state"  # Lightning's older name of it
FIT = "fit"
LOOPS = {  # by what a trainer does
    FIT: "fit_loop",
    "validate": "validate_loop",
    "tune": "validate_loop",
    "test": "test_loop",
    "predict": "predict_loop",
}
# Earlier files are deleted: not where Lightning would have to connect to, nor, by "..", out of a run's folder.
ELSEWHERE = re.compile(r"::|://|(^|/)\.\.(/|$)")
PATH = Form("a path within a run", lambda value: isinstance(value, str) and not ELSEWHERE.search(value))
CHECKPOINT = {
    "monitor": either(TEXT, NONE),
    "best_model_score": MAYBE_SCORE,
    "best_model_path": PATH,
    "current_score": MAYBE_SCORE,
    "dirpath": either(TEXT, NONE),
    "kth_best_model_path": PATH,
    "kth_value": SCORE,
    "last_model_path": PATH,
}
KEPT = whole(dict_of(NUMBER), "empty, or of an epoch", lambda value: not value or COUNT.fits(value.get("epoch")))
EARLY_STOPPING = record(
    {"wait_count": COUNT, "stopped_epoch": COUNT, "best_score": SCORE, "patience": COUNT},
    {
        "stopping_reason": whole_number(0, len(EarlyStoppingReason) - 1),
        "stopping_reason_message": either(TEXT, NONE),
    },
)


class TrainerCheckpointIO(AtomicCheckpointIO):
    """Hands a trainer only what fits it.

    Args:
        trainer: The trainer, whose callbacks and, while it runs, model and data are known.
    """

    def __init__(self, trainer: Any) -> None:  # of completions, each Trainer here would be all its options again
        super().__init__()
        self.trainer: pl.Trainer = trainer

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Reads a checkpoint, and checks it against the trainer."""
        content = super().load_checkpoint(path)
        state = self.trainer.state
        if state.status == TrainerStatus.RUNNING and state.fn is not None:
            check_fits(content, self.trainer, state.fn.value, getattr(self.trainer, "datamodule", None), path)
        return content


class ResumeGuard(Callback):
    """Checks what Lightning is about to restore, once there is what will take it."""

    def __init__(self) -> None:
        self.content: dict[str, Any] | None = None

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Checks weights that are not averaged, and keeps the content of a fit until there is an optimizer."""
        if any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined] # undeclared
            check_averaging(checkpoint, pl_module, trainer.ckpt_path)
        if trainer.state.fn == TrainerFn.FITTING:
            self.content = checkpoint

    def on_fit_start(self, trainer: pl.Trainer, pl_module: LightningModule) -> None:
        """Checks the optimizer's state, unless the strategy restores it in its own way."""
        content, self.content = self.content, None
        if content is not None and not trainer.strategy.restore_checkpoint_after_setup:
            schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
            check_optimizers(content, trainer.optimizers, schedulers, trainer.ckpt_path)


def check_fits(content: dict[str, Any], trainer: pl.Trainer, use: str, data: Any, path: str | Path) -> None:
    """Checks what a trainer restores of a checkpoint, but for the weights, which the model checks.

    Args:
        content: The checkpoint's.
        trainer: The trainer.
        use: What it is about to do: `fit`, `validate`, `tune`, `test`, `predict`, or anything else.
        data: The data module, if there is one.
        path: The checkpoint, for messages.

    Raises:
        InputError: If something is of another form than this trainer and these data would save it in.
    """
    if use == FIT and "optimizer_states" not in content:
        remedy = "resume from last.ckpt, or load it from Python and fit the model"
        raise InputError(f"{path} can't be resumed, as it has no optimizer state: {remedy}")
    entries = RESUMED if use == FIT else RESTORED
    check_form(content, record({name: ENTRIES[name] for name in entries}), path)
    if use in LOOPS and "loops" in content:
        loop = getattr(trainer, LOOPS[use])
        check_form(content["loops"], record({LOOPS[use]: _loop_form(loop.state_dict())}), path, "loops")
    if use == FIT:
        _check_progress(content, trainer.max_epochs, path)
    forms = {callback.state_key: _callback_form(callback) for callback in trainer.callbacks}  # type: ignore[attr-defined] # undeclared
    check_form(content.get("callbacks", {}), record(optional=forms), path, "callbacks")
    others = dict(_other_forms(trainer.precision_plugin, data))
    check_form(content, record(optional=others), path)


def _check_progress(content: dict[str, Any], max_epochs: int | None, path: str | Path) -> None:
    """Checks that the numbers of epochs and steps agree, and that there are epochs left."""
    loop = content["loops"]["fit_loop"]
    steps = loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"]["completed"]
    manual_steps = loop["epoch_loop.manual_optimization.optim_step_progress"]["total"]["completed"]
    epochs = loop["epoch_progress"]["current"]["completed"]
    check_form(content["epoch"], exactly(epochs), path, "epoch")
    check_form(content["global_step"], either(exactly(steps), exactly(manual_steps)), path, "global_step")
    if max_epochs is not None and -1 < max_epochs < epochs:
        raise InputError(f"the run is in epoch {epochs + 1} already: raise --trainer.max_epochs, which is {max_epochs}")


def _other_forms(precision: Any, data: Any) -> Iterator[tuple[str, Form]]:
    """Yields the forms of what the data module and the precision save, by their names in a checkpoint."""
    if isinstance(data, LabelledDataModule):
        yield type(data).__qualname__, record(optional=data.state_forms)
    if type(precision).__module__.startswith("lightning."):
        yield type(precision).__qualname__, alike(precision.state_dict())
        yield LEGACY_SCALER, alike(precision.state_dict())


def _loop_form(example: dict[str, Any]) -> Form:
    """Returns the form of a loop's state: numbers of batches, steps and epochs."""
    state = record(optional={"_batches_that_stepped": COUNT, "combined_loader": LIST})
    return record({name: state if name.endswith("state_dict") else alike(part) for name, part in example.items()})


def _callback_form(callback: Callback) -> Form:
    if isinstance(callback, EarlyStopping):
        return EARLY_STOPPING
    if isinstance(callback, ModelCheckpoint):
        return _checkpoint_form(callback)
    if isinstance(callback, StochasticWeightAveraging):
        return stochastic_averaging_form(callback.state_dict())
    own = type(callback).__module__.startswith("lightning.")
    return _loosely_alike(callback.state_dict()) if own else ANYTHING  # a user's may save anything


def _loosely_alike(example: Any) -> Form:
    """Returns the form of a state that has the entries of a new one; what is a number in that stays one."""
    if isinstance(example, dict) and example:
        return record({name: _loosely_alike(part) for name, part in example.items()})
    return NUMBER if NUMBER.fits(example) else DICT if isinstance(example, dict) else ANYTHING


def _checkpoint_form(callback: ModelCheckpoint) -> Form:
    """Returns the form of the state of a callback that keeps the best checkpoints."""

    def is_consistent(value: Any) -> bool:
        full = 0 < callback.save_top_k <= len(value["best_k_models"])
        return not full or value["kth_best_model_path"] in value["best_k_models"]

    parts = record({**CHECKPOINT, "best_k_models": dict_of(SCORE, name=PATH)}, {"kept": KEPT})
    return whole(parts, "a state whose worst checkpoint is one of those kept", is_consistent)
