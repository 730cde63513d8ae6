"""A program that `export` has written in ONNX, to serve."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from multilabel_pl.errors import InputError
from multilabel_pl.export.interface import INPUT, OUTPUTS, Metadata, as_input
from multilabel_pl.serving.served_model import ServedModel
from multilabel_pl.task import Task

OF_TASK = ("labels", "image_shape", "preprocessing", "background")
TEXTS = ("card", "checkpoint_sha256", "data_sha256", "date", "guarantee", "multilabel_pl_version", "torch_version")


def load_program(path: Path, threads: int | None) -> ServedModel:
    """Loads a program to serve.

    Args:
        path: Of a file that ends in .onnx.
        threads: Threads that it computes with; one for each core if not given.

    Raises:
        InputError: If it is missing, damaged, or not this package's.
    """
    from onnxruntime import InferenceSession, SessionOptions

    if not path.is_file():
        raise InputError(f"no program at {path}: write one with export")
    options = SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a waiting thread would take a core
    try:
        session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of any kind: the parser's, and those of missing operators
        raise InputError(f"{path} is damaged, or not a program in ONNX") from error
    task, about = _read_metadata(session.get_modelmeta().custom_metadata_map, path)

    def tag(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        inputs = as_input(torch.from_numpy(images), task)
        probabilities, tags = session.run(OUTPUTS, {INPUT: inputs.numpy()})
        return probabilities, tags

    try:
        tag(np.zeros((1, *task.image_shape), np.uint8))
    except Exception as error:  # all that ONNX Runtime raises for other inputs and outputs
        raise InputError(f"{path} was not written by this version's export: export it again") from error
    return ServedModel(task, about, tag)


def _read_metadata(found: dict[str, str], path: Path) -> tuple[Task, Metadata]:
    """Reads what a program says of itself, all as text."""
    try:
        about: Metadata = {name: text if name in TEXTS else _plain(text) for name, text in found.items()}
        task = Task(**{name: about[name] for name in OF_TASK})
        thresholds = np.asarray(about["thresholds"], dtype=float)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not say which labels it gives to which images: write it with export") from error
    if thresholds.shape != (len(task.labels),):
        raise InputError(f"{path} has {thresholds.size} thresholds for {len(task.labels)} labels: export it again")
    return task, about


def _plain(text: str) -> Any:
    """Reads JSON; a text that isn't JSON, such as `resize`, is itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
