"""What a checkpoint recalls, and where the command line says otherwise."""

import sys
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from multilabel_pl.checkpoint import read_checkpoint
from multilabel_pl.data.mnist import MNISTDataModule
from multilabel_pl.errors import InputError
from multilabel_pl.messages import note
from multilabel_pl.training.runs import newest_checkpoints

HARMLESS = ("eval_batch_size", "max_memory", "num_workers")  # options of the data that change the speed alone
SPLIT_OPTIONS = ("val_size", "split_seed")  # of MNIST: what decides which images are set aside for validation


def read_sound(path: Path, root: Path) -> dict[str, Any]:
    """Reads a checkpoint; the message about a damaged one of the runs in `root` names the newest that is not."""
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


def known_data(checkpoint: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Returns the options of the data that a model was trained on, unless that would import what a file names."""
    data: dict[str, Any] | None = checkpoint.get("datamodule_hyper_parameters")
    if data is None or str(data.get("class_path")).rpartition(".")[0] in sys.modules:
        return data
    note(f"{path} was trained on {data.get('class_path')}, which only --data may import")
    return None


def notice_ignored(asked: Namespace, own: dict[str, Any], path: Path) -> None:
    """Says which options a checkpoint's hyperparameters will replace, since Lightning does so silently.

    With the checkpoint's values as defaults, whatever differs from them was asked for.
    """
    ignored = [
        f"--model.{name} {asked[name]} (it has {value})"
        for name, value in own.items()
        if asked[name] not in (None, value)  # None leaves the choice to the data, or to the checkpoint
    ]
    if ignored:
        note(f"{path} keeps its own values, ignoring {', '.join(ignored)}")


def notice_other_split(asked: Namespace, own: dict[str, Any], path: Path) -> None:
    """Says that validation images may be among those that the model was trained on."""
    same_data = class_name(asked.class_path) == class_name(own["class_path"])
    if not same_data or class_name(own["class_path"]) != MNISTDataModule.__name__:
        return  # tables know their images, and nothing is split of scenes
    for name in SPLIT_OPTIONS:
        if asked.init_args.get(name) != own.get(name):
            note(f"{path} was trained with --data.{name} {own[name]}: it may know these images")


def notice_other_data(asked: Namespace, own: dict[str, Any], path: str) -> None:
    """Says which data, or options of them, a training goes on with that are not those it began with."""
    if class_name(asked.class_path) != class_name(own["class_path"]):
        note(f"{path} was trained on {class_name(own['class_path'])}, and goes on with {class_name(asked.class_path)}")
        return
    changed = [
        f"--data.{name} {value} (it had {own[name]})"
        for name, value in asked.init_args.items()
        if name in own and name not in HARMLESS and not _is_recorded_as(value, own[name])
    ]
    if changed:
        note(f"{path} goes on otherwise than it began, with {', '.join(changed)}")


def _is_recorded_as(asked: Any, own: Any) -> bool:
    """Tells whether a value is the recorded one, as paths are recorded as absolute ones, and labels as text."""
    if isinstance(asked, list):
        return list(map(str, asked)) == list(map(str, own or []))
    return asked == own or (isinstance(asked, str) and Path(asked).resolve() == Path(str(own)).resolve())


def class_name(class_path: str) -> str:
    """Returns the name of a class, which may be imported from several modules."""
    return class_path.rpartition(".")[2]
