"""Where runs live: root/version_0, root/version_1, …, each with its best.ckpt and last.ckpt."""

import re
from pathlib import Path
from typing import Any

import torch

from multilabel_pl.errors import InputError

BEST, LAST = "best", "last"


def _versions(root: Path) -> list[int]:
    folders = root.iterdir() if root.is_dir() else []
    return sorted(int(match[1]) for folder in folders if (match := re.fullmatch(r"version_(\d+)", folder.name)))


def next_version(root: Path) -> int:
    """Numbers a new run: one above the newest."""
    return max(_versions(root), default=-1) + 1


def run_folder(root: Path, version: int) -> Path:
    """Names the folder of a run, as Lightning's loggers do."""
    return root / f"version_{version}"


def find_checkpoint(root: Path, name: str) -> Path:
    """Finds `best` or `last` of the newest run that has a checkpoint.

    A run without validation has no best checkpoint; its last one stands in.

    Raises:
        InputError: If no run has a checkpoint.
    """
    names = [BEST, LAST] if name == BEST else [LAST]
    for version in reversed(_versions(root)):
        for candidate in names:
            if (path := run_folder(root, version) / f"{candidate}.ckpt").is_file():
                return path
    raise InputError(f"no run in {root} has a checkpoint yet: run fit first, or name a file with --ckpt_path")


def read_hyperparameters(path: Path) -> dict[str, Any]:
    """Reads a checkpoint's hyperparameters, without running any code that it may contain.

    Raises:
        InputError: If the file is missing, damaged, or not a checkpoint of this package.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: --ckpt_path takes best, last, or a file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever pickle, zipfile and torch make of bytes that are no checkpoint
        raise InputError(f"{path} is damaged or not a checkpoint; --ckpt_path takes best, last, or a file") from error
    hyperparameters = checkpoint.get("hyper_parameters", {}) if isinstance(checkpoint, dict) else {}
    if "labels" not in hyperparameters or "image_shape" not in hyperparameters:
        raise InputError(f"{path} is not a checkpoint of multilabel_pl: it names no labels and image shape")
    return dict(hyperparameters)
