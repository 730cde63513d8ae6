"""Checkpoint files: read without trust, validated once, written atomically, upgraded from older versions."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from multilabel_pl.atomic import atomic_path
from multilabel_pl.errors import InputError

RECORDED = ("head", "task")  # hyperparameters without which a checkpoint can't be used
IMPORTS = "_instantiator"  # a hyperparameter that names a function, which Lightning would import and call
TASK_0_1_0 = ("labels", "image_shape", "preprocessing", "background")  # what version 0.1.0 recorded one by one


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint without running any code that it may contain.

    Returns:
        Its content, on the CPU, in the form of this version.

    Raises:
        InputError: If the file is missing, damaged, or not a checkpoint of this package.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: give best, last, or a file")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not look at the checksums
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path} is damaged, or holds more than values and tensors, which could run code") from error
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged or not a checkpoint; give best, last, or a file") from error
    if damaged is not None:
        raise InputError(f"{path} is damaged: its part {damaged} does not match its checksum")
    options, state = (
        content.get(name) if isinstance(content, dict) else None for name in ("hyper_parameters", "state_dict")
    )
    if not isinstance(options, dict) or not isinstance(state, dict):
        raise InputError(f"{path} is not a checkpoint of multilabel_pl: it has no hyperparameters or no weights")
    if "task" not in options:
        _upgrade_0_1_0(options, state)
    if not all(options.get(name) for name in RECORDED) or not isinstance(options["task"], dict):
        raise InputError(f"{path} is not a checkpoint of multilabel_pl: it names no labels and image shape")
    if IMPORTS in options:
        raise InputError(f"{path} is not a checkpoint of multilabel_pl: it asks for the import of {options[IMPORTS]}")
    return content


def _upgrade_0_1_0(options: dict[str, Any], state: dict[str, Any]) -> None:
    """Brings the hyperparameters and the weights of version 0.1.0 to the form of today, in place."""
    task = {name: options.pop(name, None) for name in TASK_0_1_0}
    options["task"] = {name: value for name, value in task.items() if value is not None}
    if options.pop("conv_data_format", None) == "channels_last":
        options["network"] = "conv_pool_dense_keras"
    temperatures, thresholds = state.pop("temperatures", None), state.pop("thresholds", None)
    if isinstance(temperatures, Tensor):
        state["decision.slopes"], state["decision.offsets"] = 1 / temperatures, torch.zeros_like(temperatures)
        state["decision.thresholds"] = thresholds
        state["decision.positives"] = torch.zeros_like(temperatures, dtype=torch.int64)  # unknown
    if isinstance(options.get("pos_weight"), list):
        state["loss.pos_weight"] = torch.tensor(options["pos_weight"])


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint as a whole or not at all, even if the machine loses its power."""
    whole = io.BytesIO()
    torch.save(content, whole)  # not into the file: of a full disk, torch says nothing that a user understands
    with atomic_path(path) as partial, partial.open("wb") as file:
        file.write(whole.getbuffer())
        os.fsync(file.fileno())


class AtomicCheckpointIO(TorchCheckpointIO):
    """Reads checkpoints without trust, and writes them as a whole or not at all.

    Lightning's own way writes to the system's temporary folder and copies from there if that is on another disk.

    Attributes:
        opened: Contents by path that have been read already: each is handed out once instead of reading its file.
    """

    def __init__(self) -> None:
        self.opened: dict[str, dict[str, Any]] = {}

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Reads a checkpoint; see `read_checkpoint`."""
        content = self.opened.pop(str(path), None)
        return read_checkpoint(Path(path)) if content is None else content

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint, replacing an earlier one."""
        write_checkpoint(checkpoint, Path(path))
