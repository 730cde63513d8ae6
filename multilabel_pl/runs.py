"""Where runs live: root/version_0, root/version_1, …, each with its best.ckpt and last.ckpt."""

import io
import pickle
import re
import zipfile
from itertools import count
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from multilabel_pl.errors import InputError
from multilabel_pl.results.files import replacing

BEST, LAST = "best", "last"
RECORDED = ("head", "labels", "image_shape")  # hyperparameters without which a checkpoint can't be used


class BestCheckpoint(ModelCheckpoint):
    """best.ckpt: the epoch with the best monitored value."""

    @property
    def state_key(self) -> str:
        """Names its state in a checkpoint, apart from any other ModelCheckpoint's."""
        return type(self).__name__


class LastCheckpoint(BestCheckpoint):
    """last.ckpt: the newest epoch.

    ModelCheckpoint(save_last=True) would not do: it writes last.ckpt only when the monitored value has improved.
    """


def _versions(root: Path) -> list[int]:
    folders = root.iterdir() if root.is_dir() else []
    return sorted(int(match[1]) for folder in folders if (match := re.fullmatch(r"version_(\d+)", folder.name)))


def _folder(root: Path, version: int) -> Path:
    return root / f"version_{version}"  # as Lightning's loggers name it


def make_run(root: Path) -> tuple[Path, int]:
    """Makes the folder of a new run, numbered above all others; of two processes, each gets its own.

    Returns:
        The folder and its number.
    """
    for version in count(max(_versions(root), default=-1) + 1):
        try:
            _folder(root, version).mkdir(parents=True)
        except FileExistsError:
            continue
        break
    return _folder(root, version), version


def find_checkpoint(root: Path, name: str) -> Path:
    """Finds `best` or `last` of the newest run that has a checkpoint.

    Raises:
        InputError: If no run has a checkpoint.
    """
    for version in reversed(_versions(root)):
        if path := checkpoint_of(_folder(root, version), name):
            return path
    raise InputError(f"no run in {root} has a checkpoint yet: run fit first, or name a file with --ckpt_path")


def checkpoint_of(run: Path, name: str) -> Path | None:
    """Finds `best` or `last` in the folder of a run, where there is one.

    A run without validation has no best checkpoint; its last one stands in.
    """
    paths = [run / f"{candidate}.ckpt" for candidate in ([BEST, LAST] if name == BEST else [LAST])]
    return next((path for path in paths if path.is_file()), None)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint, without running any code that it may contain.

    Returns:
        What the checkpoint holds, with its tensors left on the disk until they are used.

    Raises:
        InputError: If the file is missing, damaged, or not a checkpoint of this package.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: --ckpt_path takes best, last, or a file")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load doesn't look at the checksums
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise InputError(f"{path} is damaged or not a checkpoint; --ckpt_path takes best, last, or a file") from error
    if damaged is not None:
        raise InputError(f"{path} is damaged: its part {damaged} doesn't match its checksum")
    own = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if not isinstance(own, dict) or not all(own.get(name) for name in RECORDED) or "state_dict" not in checkpoint:
        raise InputError(f"{path} is not a checkpoint of multilabel_pl: it names no labels and image shape")
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
    whole = io.BytesIO()
    torch.save(content, whole)  # not into the file: of a full disk, torch says nothing that a user understands
    with replacing(output) as partial:
        partial.write_bytes(whole.getbuffer())
