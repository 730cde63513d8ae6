"""Programs with lighter weights: of half precision, or integers of 8 bits."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multilabel_pl.atomic import PARTIAL
from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.errors import InputError, check_at_least
from multilabel_pl.export.exporting import check_exportable, written
from multilabel_pl.export.formats import Runner
from multilabel_pl.export.interface import INPUT, ONNX, Metadata, as_input
from multilabel_pl.export.program import trace
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.metrics import decision_metrics

Weights = Literal["float16", "int8"]

CALIBRATION = 300  # images, from which the ranges of activations are taken
BATCH_SIZE = 50
POINTS = 100  # of exact match, which is a share


def export_lighter(
    model: MultiLabelClassifier,
    data: LabelledDataModule,
    output: Path,
    metadata: Metadata,
    weights: Weights,
    max_loss: float,
) -> str:
    """Writes a model as a program with lighter weights, and measures what they cost on validation images.

    Args:
        model: On the CPU; it is left in evaluation mode.
        data: The validation images. For integers, the ranges of activations are taken from some of them, which are not
            measured.
        output: The file to write.
        metadata: What the file says of itself.
        weights: `float16`, or `int8`, ONNX Runtime's static quantisation.
        max_loss: Points of exact match that they may cost.

    Returns:
        The exact match with and without them, in words.

    Raises:
        InputError: As `export` does; or if there are no validation images, or lighter weights cost more.
    """
    check_at_least(0, max_loss=max_loss)
    check_exportable(output)
    if weights == "int8" and output.suffix != ONNX:
        raise InputError(f"8-bit weights are for outputs that end in {ONNX}, got {output}")
    data.setup("validate")
    model.bind(data.task)
    assert data.val_set is not None
    if len(data.val_set) < 2:
        raise InputError("lighter weights are measured on validation images, of which there is one: raise val_size")
    with _in_half_precision(model) if weights == "float16" else nullcontext():
        program = trace(model)
    calibration: list[int] = []  # numbers of images
    change = None
    if weights == "int8":
        calibration = list(range(0, len(data.val_set), max(2, len(data.val_set) // CALIBRATION)))[:CALIBRATION]
        images, _ = data.val_set.__getitems__(calibration)
        change = partial(_quantise, images=as_input(images, data.task))
    with written(program, data.task, output, metadata, change) as run:
        lighter, own = _exact_matches(model, run, data, calibration)
        measured = len(data.val_set) - len(calibration)
        found = f"exact match on {measured:,} validation images {lighter:.2%}, with the model's weights {own:.2%}"
        if POINTS * (own - lighter) > max_loss:
            raise InputError(f"{output} is not written: {found}; to write it nevertheless, raise max_loss")
    return found


@contextmanager
def _in_half_precision(model: MultiLabelClassifier) -> Iterator[None]:
    """Gives a model a network of half precision for a while; head, calibration and thresholds stay as they are."""
    network = model.network
    model.network = copy.deepcopy(network).half()
    try:
        yield
    finally:
        model.network = network


def _quantise(path: Path, images: Tensor) -> None:
    """Turns the weights and activations of an ONNX file into 8-bit integers, in place.

    Args:
        path: The file.
        images: From which the ranges of activations are taken, (N, H, W, 3).
    """
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc] # it ships no types
        batches = iter(torch.split(images, BATCH_SIZE))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch.numpy()}

    with TemporaryDirectory(dir=path.parent, prefix=PARTIAL) as folder:
        prepared = Path(folder, path.name)
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, path, Images(), per_channel=True)


@torch.inference_mode()
def _exact_matches(
    model: MultiLabelClassifier, program: Runner, data: LabelledDataModule, left_out: list[int]
) -> tuple[float, float]:
    """Returns the exact match of a program and of its model on the validation images, but those left out."""
    assert model.task is not None
    batches = data.val_dataloader()
    parts = [(program(as_input(images, model.task))[1], model.tag(images)[1], targets) for images, targets in batches]
    tags, own_tags, targets = (torch.cat(part) for part in zip(*parts, strict=True))
    targets[left_out] = torch.nan  # as if unknown
    found, own = (decision_metrics(each, targets)["exact_match"].item() for each in (tags, own_tags))
    return found, own
