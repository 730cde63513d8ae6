"""Checks of options, and those that a checkpoint records: its data, and conflicts with what is asked for."""

import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator

from multilabel_pl.checkpoint import read_checkpoint
from multilabel_pl.cli.request import Request, class_name
from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.data.image_files import ImageFilesDataModule
from multilabel_pl.errors import InputError
from multilabel_pl.file_names import BEST, LAST
from multilabel_pl.messages import note
from multilabel_pl.processes import usable_cores
from multilabel_pl.schema.forms import ANYTHING, check_form, record
from multilabel_pl.schema.signatures import arguments_of
from multilabel_pl.training.runs import Run, find_checkpoint, newest_checkpoints, newest_run, run_of

POSITIVE = ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval")  # of the trainer's options
OFTEN_MINUS_ONE = ("max_epochs", "max_steps", "num_sanity_val_steps", "devices")  # for no limit, or all
LONG = 100  # items of a list
MAX_SEED = 2**32 - 1  # NumPy's
MAX_NUMBER = 2**62  # of integers; torch has 64 bits
SPEED_ONLY = ("eval_batch_size", "max_memory", "num_workers")  # data options that don't change results


def check_values(options: Namespace, groups: Collection[str]) -> None:
    """Checks what neither jsonargparse nor Lightning refuses.

    Args:
        options: Those of a subcommand.
        groups: The groups of options that it may have; a configuration file may say `trainer: null`.

    Raises:
        InputError: If a group is something else, or a number is out of range.
    """
    for name in groups:
        if not isinstance(options.get(name, options), Namespace):
            raise InputError(f"--{name} must have options, got {options[name]}: leave it out, or set some")
    for name, value in options.items():
        if isinstance(value, int) and abs(value) > MAX_NUMBER:
            raise InputError(f"--{name.replace('.init_args', '')} is too large: {value}")
    if not 0 <= (options.get("seed_everything") or 0) <= MAX_SEED:
        raise InputError(f"--seed_everything must be in [0, {MAX_SEED}], got {options.seed_everything}")
    for name, value in options.trainer.items():
        is_own = "." not in name and name not in OFTEN_MINUS_ONE  # not one of a logger's, or of whatever else it takes
        if is_own and isinstance(value, int | float) and value < 0:
            raise InputError(f"--trainer.{name} must be at least 0, got {value}")
    for name in POSITIVE:
        value = options.trainer[name]
        if isinstance(value, int | float) and value <= 0:
            raise InputError(f"--trainer.{name} must be above 0, got {value}")
    for unit in ("epochs", "steps"):
        least, most = options.trainer[f"min_{unit}"] or 0, options.trainer[f"max_{unit}"]
        if most is not None and -1 < most < least:
            raise InputError(f"--trainer.min_{unit} {least} is more than --trainer.max_{unit} {most}: lower it")
    if options.trainer.gradient_clip_algorithm is not None and not options.trainer.gradient_clip_val:
        raise InputError(
            "--trainer.gradient_clip_algorithm does nothing without --trainer.gradient_clip_val: give both"
        )


def check_data(data: LightningDataModule, subcommand: str) -> None:
    """Checks that a subcommand can use the data.

    Raises:
        InputError: If they are neither labelled images nor files to predict.
    """
    kinds = (LabelledDataModule, ImageFilesDataModule) if subcommand == "predict" else (LabelledDataModule,)
    if not isinstance(data, kinds):
        raise InputError(
            f"{subcommand} needs labelled images, which {type(data).__name__} does not have: choose other --data"
        )


def check_processes(trainer: Trainer, request: Request) -> None:
    """Checks that there is a core for each process that is to compute on one, and that they are one run.

    Raises:
        InputError: If there are more processes, unless their number was asked for twice; or other than torchrun has
            started, which would each work alone.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ["WORLD_SIZE"] != str(trainer.world_size):
        nodes = os.environ.get("GROUP_WORLD_SIZE", "1")
        needed = f"--trainer.devices {os.environ['LOCAL_WORLD_SIZE']}"
        needed += f" --trainer.num_nodes {nodes}" if nodes != "1" else ""
        raise InputError(
            f"torchrun has started {os.environ['WORLD_SIZE']} processes, not {trainer.world_size}: give {needed}"
        )
    cores = usable_cores()
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > cores and not request.insists:
        raise InputError(
            f"{trainer.num_devices} processes on {cores} cores are slower than {cores}: lower --trainer.devices, or "
            "give it twice if you mean it"
        )


def checkpoint_to_use(request: Request, root: Path) -> tuple[Run | None, Path | None]:
    """Returns what --ckpt_path means: a run to resume, if it is one's last checkpoint, and a path.

    Commands that evaluate use the newest run's best checkpoint if it isn't given; `fit` needs none, and no path means
    to start from scratch. `optimize` takes none.

    Raises:
        InputError: If there is none, or the newest run has others than the last.
    """
    asked, fitting = request.get("ckpt_path"), request.command == "fit"
    if (fitting and asked is None) or request.command == "optimize":
        return None, None
    if fitting and asked == LAST:
        run = newest_run(root)
        return run, _last_of(run, root)
    name = asked or BEST
    path = find_checkpoint(root, name) if name in (BEST, LAST) else Path(name)
    return (run_of(root, path) if fitting else None), path


def _last_of(run: Run | None, root: Path) -> Path | None:
    """Returns the checkpoint from which a run is resumed; none if it was ended before its first."""
    if run is not None and run.last.is_file():
        return run.last
    if run is not None and any(run.folder.glob("*.ckpt")):
        raise InputError(f"{run.last} does not exist: give another checkpoint to --ckpt_path")
    note(f"no checkpoint yet in {run.folder if run else root}: starting from scratch")
    return None


def read_sound(path: Path, root: Path) -> dict[str, Any]:
    """Reads a checkpoint; for a damaged one of the runs in `root`, the message names one that is not."""
    try:
        return read_checkpoint(path)
    except InputError as error:
        others = newest_checkpoints(root)
        sound = next((other for other in others if _is_sound(other)), None)
        if sound is None or path.resolve() not in [other.resolve() for other in others]:
            raise
        raise InputError(f"{error}; the one before it is {sound}") from error


def _is_sound(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except InputError:
        return False
    return True


def recorded_data(content: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Returns the data options recorded in a checkpoint, unless they would import what the file names.

    Those that are the user's alone, such as where to write, are left out, should the file have them.

    Raises:
        InputError: If they are not those of the class that they name.
    """
    data: dict[str, Any] | None = content.get("datamodule_hyper_parameters")
    if data is None:
        return None
    module, _, name = str(data.get("class_path")).rpartition(".")
    data_class = getattr(sys.modules.get(module), name, None)
    if not isinstance(data_class, type) or not issubclass(data_class, LightningDataModule):
        note(f"{path} was trained on {module}.{name}, which only --data may import")
        return None
    forms = arguments_of(data_class) | {"class_path": ANYTHING}
    check_form(data, record(optional=forms, closed=True), path, "datamodule_hyper_parameters")
    unrecorded = getattr(data_class, "unrecorded", ())
    return {name: value for name, value in data.items() if name not in unrecorded}


def check_makeable(data: dict[str, Any], asked: Collection[str], path: Path) -> None:
    """Checks that the data recorded in a checkpoint can be made, so that the message names where the options are from.

    Args:
        data: The class and its options.
        asked: Options of the command line. If some are of the data, they may be what is wrong, or set it right.
        path: The checkpoint, for messages.

    Raises:
        InputError: If an option is out of range.
    """
    if any(name.split(".")[0] == "data" for name in asked):
        return
    options = dict(data)
    module, _, name = options.pop("class_path").rpartition(".")
    try:
        getattr(sys.modules[module], name)(**options)
    except (InputError, TypeError) as error:
        raise InputError(f"{path} records data that can't be made: {error}; name others with --data") from error


def note_ignored(asked: Namespace, own: dict[str, Any], path: Path) -> None:
    """Reports model options that a checkpoint's override, since Lightning does so silently.

    With the checkpoint's values as defaults, whatever differs from them was asked for.
    """
    ignored = [
        f"--model.{name} {value} (it has {own[name]})"
        for name, value in asked.items()
        if name in own and value != own[name]
    ]
    if ignored:
        note(f"{path} keeps its own values, ignoring {', '.join(ignored)}")


def note_other_data(asked: Namespace, own: dict[str, Any], path: str) -> None:
    """Reports data, or options of them, with which a run is resumed that are not those it was started with."""
    if class_name(asked.class_path) != class_name(own["class_path"]):
        note(f"resuming on {class_name(asked.class_path)}, but {path} was trained on {class_name(own['class_path'])}")
        return
    changed = [
        f"--data.{name} {value} (it had {own[name]})"
        for name, value in asked.init_args.items()
        if name in own and name not in SPEED_ONLY and not _is_recorded_as(value, own[name])
    ]
    if changed:
        note(f"resuming with different data options: {', '.join(changed)}")


def _is_recorded_as(asked: Any, own: Any) -> bool:
    """Whether a value is the recorded one; paths are recorded as absolute ones, and labels as text."""
    if isinstance(asked, list):
        return list(map(str, asked)) == list(map(str, own or []))
    return asked == own or (isinstance(asked, str) and Path(asked).resolve() == Path(str(own)).resolve())


def is_long(value: Any) -> bool:
    """Whether a value is a list that takes jsonargparse long, whose time grows with the square of its length."""
    return isinstance(value, list) and len(value) > LONG
