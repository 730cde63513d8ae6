"""Checkpoint files: read without trust, validated once, written atomically, upgraded from older versions."""

import io
import os
import pickle
import stat
import zipfile
from pathlib import Path
from typing import Any

import torch

from multilabel_pl.atomic import atomic_path
from multilabel_pl.errors import InputError
from multilabel_pl.schema.content import METADATA, MODEL, check_bounded
from multilabel_pl.schema.forms import DICT, FINITE, SHOWN, TEXT, check_form, fits, list_of, record
from multilabel_pl.schema.tensors import is_dense
from multilabel_pl.zip_archives import holds_more_than_its_file

RECORDED = {"head": TEXT, "task": DICT}  # hyperparameters without which a checkpoint can't be used
IMPORTS = "_instantiator"  # a hyperparameter that names a function, which Lightning would import and call
TASK_0_1_0 = ("labels", "image_shape", "preprocessing", "background")  # what version 0.1.0 recorded one by one


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint without running any code that it may contain.

    Returns:
        Its content, on the CPU, in the form of this version. It has hyperparameters and weights; all else may be
        missing, but is of the form that the schema says.

    Raises:
        InputError: If the file is missing, damaged, or not a checkpoint of this package.
    """
    _check_readable(path)
    content: dict[str, Any] = _load(path)
    _check_origin(content, path)
    check_form(content, MODEL, path)
    check_form(getattr(content["state_dict"], "_metadata", {}), METADATA, path, "state_dict._metadata")
    return content


def _check_origin(content: Any, path: Path) -> None:
    """Checks that a file's content is a model of this package, and upgrades it."""
    foreign = f"{path} is not a checkpoint of multilabel_pl: it"
    options, state = (
        content.get(name) if isinstance(content, dict) else None for name in ("hyper_parameters", "state_dict")
    )
    if not isinstance(options, dict) or not isinstance(state, dict):
        raise InputError(f"{foreign} has no hyperparameters or no weights")
    check_bounded(content, path)
    if "task" not in options:
        _upgrade_0_1_0(options, state)
    if not fits(options, record(RECORDED)) or not options["task"]:
        raise InputError(f"{foreign} names no labels and image shape")
    if IMPORTS in options:
        raise InputError(f"{foreign} asks for the import of {str(options[IMPORTS])[:SHOWN]}")


def _check_readable(path: Path) -> None:
    """Checks that a path leads to a file that may be read, without opening it: a pipe would wait for its other end."""
    try:
        mode = path.stat().st_mode
    except PermissionError as error:
        raise InputError(f"no permission to read {path}: give best, last, or another file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"no checkpoint at {path}: give best, last, or a file") from error
    if not stat.S_ISREG(mode):
        kind = "folder" if stat.S_ISDIR(mode) else "pipe or a device"
        raise InputError(f"no checkpoint at {path}: give best, last, or a file, not a {kind}")
    if not os.access(path, os.R_OK):
        raise InputError(f"no permission to read {path}: give best, last, or another file")


def _load(path: Path) -> Any:
    """Reads plain values and tensors from a file."""
    try:
        with zipfile.ZipFile(path) as archive:
            if holds_more_than_its_file(archive):
                raise InputError(f"{path} is damaged or not a checkpoint: it claims to hold more than its size")
            damaged = archive.testzip()  # torch.load does not look at the checksums
        content = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        raise InputError(f"{path} is damaged, or holds more than values and tensors, which could run code") from error
    except Exception as error:  # of any kind: these parsers trust the bytes they read
        raise InputError(f"{path} is damaged or not a checkpoint; give best, last, or a file") from error
    if damaged is not None:
        raise InputError(f"{path} is damaged: its part {damaged} does not match its checksum")
    return content


def _upgrade_0_1_0(options: dict[str, Any], state: dict[str, Any]) -> None:
    """Brings the hyperparameters and the weights of version 0.1.0 to the form of today, in place."""
    task = {name: options.pop(name, None) for name in TASK_0_1_0}
    options["task"] = {name: value for name, value in task.items() if value is not None}
    if options.pop("conv_data_format", None) == "channels_last":
        options["network"] = "conv_pool_dense_keras"
    temperatures, thresholds = state.pop("temperatures", None), state.pop("thresholds", None)
    if is_dense(temperatures):
        state["decision.slopes"], state["decision.offsets"] = 1 / temperatures, torch.zeros_like(temperatures)
        state["decision.thresholds"] = thresholds
        state["decision.positives"] = torch.zeros_like(temperatures, dtype=torch.int64)  # unknown
    if fits(weights := options.get("pos_weight"), list_of(FINITE)):
        state["loss.pos_weight"] = torch.tensor(weights, dtype=torch.float32)


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint as a whole or not at all, even if the machine loses its power."""
    whole = io.BytesIO()
    torch.save(content, whole)  # not into the file: of a full disk, torch says nothing that a user understands
    with atomic_path(path) as partial, partial.open("wb") as file:
        file.write(whole.getbuffer())
        os.fsync(file.fileno())
