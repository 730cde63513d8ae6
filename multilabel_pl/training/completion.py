"""Whether a run is finished: by its number of epochs or steps, or because a callback has ended it."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from multilabel_pl.training.lightning_internals import has_stopped_early

STOPPED_BY = "stopped_by"  # in a checkpoint of a run that was ended early: the callbacks that may have done so
_KNOWN_MODULES = ("lightning.", "multilabel_pl.")


def mark_if_stopped(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Marks the checkpoint of a run that a callback has ended."""
    if has_stopped_early(trainer) and (callbacks := _stopping(trainer)):
        checkpoint[STOPPED_BY] = callbacks


def is_stopped(trainer: Trainer, checkpoint: Mapping[str, Any]) -> bool:
    """Whether a run was ended by callbacks that the trainer still has."""
    return bool(callbacks := checkpoint.get(STOPPED_BY)) and callbacks == _stopping(trainer)


def why_finished(trainer: Trainer, checkpoint: Mapping[str, Any]) -> str | None:
    """Returns why nothing is left to do for the run of a checkpoint, and what would change that; None if there is."""
    step, epochs = checkpoint["global_step"], checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if -1 < trainer.max_steps <= step:
        return f"it has done {step} steps; raise --trainer.max_steps"
    if trainer.max_epochs is not None and -1 < trainer.max_epochs <= epochs:
        return f"it has done {epochs} epochs; raise --trainer.max_epochs"
    if is_stopped(trainer, checkpoint):
        return "it was stopped early; without what did that it would go on: --trainer.callbacks null"
    return None


def _stopping(trainer: Trainer) -> list[str]:
    """Names the callbacks that may end a fit: early stopping, and the user's own.

    A Timer, as of --trainer.max_time, sees to a resumed run itself.
    """
    return [
        callback.state_key
        for callback in trainer.callbacks  # type: ignore[attr-defined] # set, but undeclared
        if isinstance(callback, EarlyStopping) or is_users_own(callback)
    ]


def is_users_own(callback: Callback) -> bool:
    """Whether a callback is neither Lightning's nor this package's, so that what it does is unknown."""
    return not type(callback).__module__.startswith(_KNOWN_MODULES)
