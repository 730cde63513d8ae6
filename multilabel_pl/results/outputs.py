"""The outputs of an evaluation for each image, in NumPy's format: what `compare` compares."""

import math
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib import format as npy

from multilabel_pl.atomic import atomic_path
from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.digests import paths_digest
from multilabel_pl.errors import InputError
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.origin import Origin
from multilabel_pl.results.text import utf_8
from multilabel_pl.zip_archives import holds_more_than_its_file

UNKNOWN = -1  # as a target
TEXTS = ("images", "checkpoint", "digest", "source", "date")
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Outputs:
    """What an evaluation leaves behind.

    Attributes:
        evaluation: The evaluation; its logits are calibrated already.
        images: Digest of the names of the images' files, in their order.
        checkpoint: Name of the checkpoint's file.
        digest: SHA-256 of that file.
        source: The data, as a report names them.
        date: When it was written.
    """

    evaluation: Evaluation
    images: str
    checkpoint: str
    digest: str
    source: str
    date: str


def write_outputs(evaluation: Evaluation, images: LabelledDataset | None, origin: Origin, path: Path) -> None:
    """Writes the outputs of an evaluation as NumPy's arrays, uncompressed.

    Args:
        evaluation: Of N images and L labels.
        images: The images, in the order of the evaluation, if they are known.
        origin: What was evaluated.
        path: Where to. The arrays are labels (L,), thresholds float32 (L,), logits float32 (N, L), calibrated, so that
            their sigmoid is the probability, targets int8 (N, L), 1, 0, or -1 where unknown, loss float32 (), and
            texts: images, a digest of the names of their files, checkpoint, its digest, source and date.
    """
    names = (images.paths if images is not None else None) or []
    arrays: dict[str, Any] = {
        "labels": np.array(evaluation.labels, dtype=np.str_),
        "thresholds": evaluation.thresholds.float().numpy(),
        "logits": evaluation.logits.float().numpy(),
        "targets": evaluation.targets.nan_to_num(UNKNOWN).to(torch.int8).numpy(),
        "loss": evaluation.loss.float().numpy(),
        "images": paths_digest(Path(path.name) for path in names[: len(evaluation.targets)]),
        "checkpoint": utf_8(origin.checkpoint.name),
        "digest": origin.digest,
        "source": origin.source,
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def read_outputs(path: Path) -> Outputs:
    """Reads the outputs of an evaluation, without trust.

    Raises:
        InputError: If the file is not one that `write_outputs` has written.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check(not holds_more_than_its_file(archive))
                return _outputs({name.removesuffix(".npy"): _array(archive, name) for name in archive.namelist()})
        except Exception as error:  # of any kind: these parsers trust the bytes they read
            raise InputError(f"{path} is damaged, or of another version: run {path.parent.name} again") from error


def _array(archive: zipfile.ZipFile, name: str) -> Array:
    """Reads an array of numbers or texts, no larger than its part of the archive."""
    with archive.open(name) as file:
        _check(npy.read_magic(file) == (1, 0))
        shape, in_columns, dtype = npy.read_array_header_1_0(file)
        content = file.read()
    _check(not in_columns and not dtype.hasobject and len(content) == math.prod(shape) * dtype.itemsize)
    return np.frombuffer(bytearray(content), dtype).reshape(shape)


def _outputs(arrays: dict[str, Array]) -> Outputs:
    """Checks arrays, and makes an evaluation of them."""
    labels, logits, targets = arrays["labels"], arrays["logits"], arrays["targets"]
    _check(_is_text(labels, (len(labels),)) and 0 < len(set(labels.tolist())) == len(labels))
    _check(_is_number(logits, np.float32, (len(logits), len(labels))) and len(logits) > 0)
    _check(_is_number(arrays["thresholds"], np.float32, (len(labels),)))
    _check(_is_number(targets, np.int8, logits.shape) and bool(np.isin(targets, (UNKNOWN, 0, 1)).all()))
    _check(arrays["loss"].dtype == np.float32 and arrays["loss"].shape == ())
    _check(all(_is_text(arrays[name], ()) for name in TEXTS))
    decision = Decision(labels.tolist(), 0.5, calibrate=False)
    decision.thresholds.copy_(torch.from_numpy(arrays["thresholds"]))
    truth = torch.from_numpy(targets).float()
    known = truth.where(truth != UNKNOWN, torch.nan)
    evaluation = Evaluation(decision, torch.from_numpy(logits), known, torch.from_numpy(arrays["loss"]))
    return Outputs(evaluation, *(str(arrays[name]) for name in TEXTS))


def _is_number(array: Array, dtype: type, shape: tuple[int, ...]) -> bool:
    return array.dtype == dtype and array.shape == shape and not np.isnan(array).any()


def _is_text(array: Array, shape: tuple[int, ...]) -> bool:
    "".join(array.flatten().tolist()).encode()  # an error of halves of characters, which can't be written
    return array.dtype.kind == "U" and array.shape == shape


def _check(right: bool) -> None:
    if not right:
        raise ValueError("it is of another form")
