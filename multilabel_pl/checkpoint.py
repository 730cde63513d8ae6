"""Checkpoint files: reading them without trust, and writing them whole."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from multilabel_pl.atomic import replacing
from multilabel_pl.errors import InputError

RECORDED = ("head", "labels", "image_shape")  # hyperparameters without which a checkpoint can't be used
IMPORTS = "_instantiator"  # a hyperparameter that names a function, which Lightning would import and call


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint, without running any code that it may contain.

    Returns:
        What the checkpoint holds, with its tensors left on the disk until they are used.

    Raises:
        InputError: If the file is missing, damaged, or not a checkpoint of this package.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: name best, last, or a file")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load doesn't look at the checksums
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path} is damaged, or holds more than values and tensors, which could run code") from error
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged or not a checkpoint; name best, last, or a file") from error
    if damaged is not None:
        raise InputError(f"{path} is damaged: its part {damaged} doesn't match its checksum")
    own = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if not isinstance(own, dict) or not all(own.get(name) for name in RECORDED) or "state_dict" not in checkpoint:
        raise InputError(f"{path} is not a checkpoint of multilabel_pl: it names no labels and image shape")
    if IMPORTS in own:
        raise InputError(f"{path} is not a checkpoint of multilabel_pl: it asks for the import of {own[IMPORTS]}")
    return checkpoint


def write_renewed(checkpoint: Path, output: Path, state: dict[str, Tensor], options: dict[str, Any]) -> None:
    """Writes a checkpoint as another one that differs in some of its state.

    Args:
        checkpoint: The file to read; it stays as it is, unless it is the output as well.
        output: The file to write.
        state: What differs, by its name in the model's state.
        options: The model's options that led to it.
    """
    content = read_checkpoint(checkpoint)
    content["state_dict"].update(state)
    content["hyper_parameters"].update(options)
    write_checkpoint(content, output)


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint, as a whole or not at all, even if the machine loses its power."""
    whole = io.BytesIO()
    torch.save(content, whole)  # not into the file: of a full disk, torch says nothing that a user understands
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(whole.getbuffer())
        os.fsync(file.fileno())


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint as a whole or not at all.

    Lightning's own way writes to the system's temporary folder, from where it copies if that is another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint, in the place of an earlier one."""
        write_checkpoint(checkpoint, Path(path))
