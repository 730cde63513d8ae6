"""Every use of names that Lightning and torch don't document, with the reason; tried on lightning 2.6.4 and 2.6.6.

`pyproject.toml` bounds lightning to the minor version tried here.
"""

import threading
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning.pytorch.trainer.states import TrainerFn

from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.processes import is_awaited, join_meeting, meeting, watch_children

SWA_FUNCTION = "anneal_func"  # in the state of SWALR, of torch 2.9 among others: no plain value, and not restored
SCHEDULE_LENGTH = ("total_steps", "_schedule_phases")  # of torch's OneCycleLR


class ExactResume(Callback):
    """Lets a resumed run end, bit for bit, as one that was never stopped."""

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Lets a resumed run be longer: OneCycleLR would restore the number of steps that it was planned for."""
        if trainer.state.fn != TrainerFn.FITTING:  # of a checkpoint that is evaluated, nothing changes
            return
        for schedule in checkpoint.get("lr_schedulers", []):
            for name in SCHEDULE_LENGTH:
                schedule.pop(name, None)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins the next epoch of a run that was stopped between two: Lightning would end the last one again."""
        loop = trainer.fit_loop
        if loop.restarted_on_epoch_end:
            loop.reset_restart_stage()
            loop.epoch_progress.increment_completed()
            loop.epoch_loop.restarting = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Lets a resumed run repeat what had only begun: a batch, or a validation.

        To Lightning, the batch before then looks completed, or the validation as if at its first batch.
        """
        averages = (
            state.get("scheduler_state") for state in checkpoint["callbacks"].values() if isinstance(state, dict)
        )
        for schedule in (*checkpoint["lr_schedulers"], *averages):
            if isinstance(schedule, dict):
                schedule.pop(SWA_FUNCTION, None)
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
        else:  # a validation that was repeated has counted its first batch twice
            validation["total"].update(ready=validation["total"]["completed"], started=validation["total"]["completed"])


class FusedClipping(Callback):
    """Lets gradients be clipped in mixed precision.

    Lightning refuses that with an optimizer that can unscale gradients itself, as torch's fused ones can, even where
    nothing is scaled, as in bfloat16. If an optimizer seems unable to, Lightning unscales before it clips.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets Lightning unscale."""
        if trainer.gradient_clip_val:
            for optimizer in trainer.optimizers:
                optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined] # of some


class AveragedDecision(Callback):
    """Gives averaged weights the thresholds and the calibration that are learned for them.

    Lightning validates the average of a WeightAveraging, but puts the weights of the training back in place before the
    end of the epoch, at which these are learned: the average would keep those of the beginning.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copies them, before a checkpoint is saved."""
        if not isinstance(pl_module, MultiLabelClassifier):
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined] # undeclared
            if isinstance(callback, WeightAveraging) and callback._average_model is not None:
                averaged = callback._average_model.module
                assert isinstance(averaged, MultiLabelClassifier)
                averaged.decision.load_state_dict(pl_module.decision.state_dict())


def watch_launched(trainer: Trainer) -> None:
    """Lets the program end with a line and exit status 1 when a process that it has launched fails.

    Lightning's own thread for that kills the program without a word, and torch's rendezvous waits for half an hour.
    """
    strategy, launcher = trainer.strategy, trainer.strategy.launcher
    if is_awaited():
        meet = join_meeting
    elif isinstance(launcher, _SubprocessScriptLauncher):  # which makes a new list of processes when it launches them
        watch_children(lambda: launcher.procs, _stop_observer)
        meet = meeting(lambda: launcher.procs)
    else:
        return

    def meet_first() -> None:  # once, between the launch and the rendezvous
        del strategy.setup_environment
        meet()
        strategy.setup_environment()

    strategy.setup_environment = meet_first  # type: ignore[method-assign]


def _stop_observer() -> None:
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._run = lambda: True  # type: ignore[attr-defined] # as if there were nothing to observe


def has_stopped_early(trainer: Trainer) -> bool:
    """Whether a callback has ended the fit, and the least number of epochs and steps is reached.

    Lightning's own loop asks the same; nothing public tells a stop that is put off from one that is not.
    """
    return bool(trainer.should_stop and trainer.fit_loop._can_stop_early)
