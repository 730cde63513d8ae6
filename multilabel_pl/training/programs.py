"""The program that `export` writes, and what it says of it."""

from pathlib import Path
from typing import Any

import torch

from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.errors import InputError
from multilabel_pl.export.exporting import check_exportable, export
from multilabel_pl.export.interface import ONNX
from multilabel_pl.export.lighter import export_lighter
from multilabel_pl.export.metadata import describe
from multilabel_pl.images.pixels import MAX_PIXEL
from multilabel_pl.messages import say
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.training.example_images import first_test_images

CHECKED = 100  # images that a program is checked with


def path_of_program(output: str | None, checkpoint: str | Path | None) -> Path:
    """Returns the path of the file to write.

    Raises:
        InputError: If it is unknown, or can't be written.
    """
    if output is None and checkpoint is None:
        raise InputError("export needs an output, or a checkpoint to write it beside")
    path = Path(output) if output is not None else Path(str(checkpoint)).with_suffix(ONNX)
    check_exportable(path)
    return path


def write_program(
    model: MultiLabelClassifier,
    data: LabelledDataModule,
    content: dict[str, Any] | None,
    checkpoint: Path | None,
    output: Path,
    half: bool,
    int8: bool,
    max_loss: float,
) -> None:
    """Writes a program, and says how it was checked.

    Args:
        model: The model, with its weights.
        data: Images to check with.
        content: That of its checkpoint, if it has one.
        checkpoint: That checkpoint.
        output: The file to write.
        half: Whether its weights are to be of half precision.
        int8: Whether they are to be integers.
        max_loss: Points of exact match that such weights may cost.
    """
    if half and int8:
        raise InputError("half and int8 exclude each other: choose one")
    metadata = describe(model, content, checkpoint)
    if half or int8:
        found = export_lighter(model, data, output, metadata, "int8" if int8 else "float16", max_loss)
        say(f"written to {output}: {found}")
        return
    images = first_test_images(data, model, CHECKED)
    if images is None:
        assert model.task is not None  # as there are no images, it is a checkpoint's
        images = torch.randint(MAX_PIXEL + 1, (CHECKED, *model.task.image_shape), dtype=torch.uint8)
    difference = export(model, images, output, metadata)
    say(f"written to {output}, checked with {len(images)} images: probabilities differ by {difference:.1e} at most")
