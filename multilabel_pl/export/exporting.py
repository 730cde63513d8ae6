"""Writes models as programs that run without this package, and checks what was written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import ExportedProgram

from multilabel_pl.atomic import atomic_path, check_writable
from multilabel_pl.errors import InputError, check_extra
from multilabel_pl.export.formats import FORMATS, Runner
from multilabel_pl.export.interface import ONNX, RGB, Metadata, as_input, channels_of
from multilabel_pl.export.program import trace
from multilabel_pl.export.reader import check_reader, write_reader
from multilabel_pl.images.preprocessing import prepare
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.task import Task

TOLERANCE = 1e-5  # of a probability
RESIZED_TOLERANCE = 1e-3  # of one after the program has resized an image, as pixels may be rounded the other way
SCALES = (0.4, 1.7)  # of images that the program is to resize
RESIZED = 10  # images of each scale


def check_exportable(output: Path) -> None:
    """Checks that a file can be written, before any work is done.

    Raises:
        InputError: If its suffix is unknown, a package is missing, or its folder is not writable.
    """
    if output.suffix not in FORMATS:
        raise InputError(f"output must end in {' or '.join(FORMATS)}, got {output}")
    if output.is_dir():
        raise InputError(f"{output} is a folder; choose another output")
    if output.suffix == ONNX:
        check_extra("export", f"export to {output}")
    check_writable(output)


def export(model: MultiLabelClassifier, images: Tensor, output: Path, metadata: Metadata) -> float:
    """Writes a model, with its preprocessing, head, calibration and thresholds, as a program, and checks the result.

    Its input `images` is uint8 (B, H, W, 3) for any B, and any H and W if the preprocessing is `resize`; its outputs
    are `probabilities`, float32 (B, L), and `tags`, bool (B, L). A Python file that reads images for it lies beside.

    Args:
        model: On the CPU; it is left in evaluation mode.
        images: To check with, uint8 (N, C, H, W), N of at least 1.
        output: The file to write, ending in .onnx or .pt2.
        metadata: What the file says of itself.

    Returns:
        The largest difference from the model's probabilities.

    Raises:
        InputError: If the file can't be written, the model is too large for its format, the Python file is another
            program's, or the result differs from the model by more than rounding.
    """
    check_exportable(output)
    assert model.task is not None
    with written(trace(model), model.task, output, metadata) as program:
        try:
            return max(
                check_equal(model, program, batch) for batch in (images[:1], images, *_scaled(images, model.task))
            )
        except AssertionError as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{output} is not written, as its predictions differ from the model's: {reason}") from None


@contextmanager
def written(
    program: ExportedProgram,
    task: Task,
    output: Path,
    metadata: Metadata,
    change: Callable[[Path], None] | None = None,
) -> Iterator[Runner]:
    """Writes a program, and a Python file that reads images for it, unless an error is raised within the block.

    Args:
        program: A model's.
        task: That model's.
        output: The file to write, which `check_exportable` has found to be possible.
        metadata: What the file says of itself.
        change: What is done to the file once it is written, if anything.

    Yields:
        The program as loaded from the file, to be checked.

    Raises:
        InputError: If the Python file is there for another program, which takes images otherwise.
    """
    is_readable = channels_of(task) == RGB
    if is_readable:
        check_reader(task, output)
    write, load = FORMATS[output.suffix]
    with atomic_path(output) as partial:
        write(program, task, metadata, partial)
        if change is not None:
            change(partial)
        yield load(partial)
    if is_readable:
        write_reader(task, output)


@torch.inference_mode()
def check_equal(model: MultiLabelClassifier, program: Runner, images: Tensor) -> float:
    """Checks that a program predicts what the model does.

    Args:
        model: On the CPU, in evaluation mode.
        program: Takes uint8 (B, H, W, 3) and returns probabilities float32 (B, L) and tags bool (B, L).
        images: uint8 (B, C, H, W); of any size if the program resizes.

    Returns:
        The largest difference of probabilities.

    Raises:
        AssertionError: If a probability differs by more than 1e-5, or 1e-3 of images that are resized, or a tag whose
            probability is farther than that from its threshold.
    """
    assert model.task is not None
    is_resized = tuple(images.shape[1:]) != model.task.image_shape
    tolerance = RESIZED_TOLERANCE if is_resized else TOLERANCE
    prepared = torch.stack([prepare(image, model.task) for image in images]) if is_resized else images
    expected, expected_tags = model.tag(prepared)
    found, found_tags = program(as_input(images, model.task))
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
    clear = (expected - model.decision.thresholds).abs() > tolerance
    torch.testing.assert_close(found_tags[clear], expected_tags[clear])
    return (expected - found).abs().max().item()


def _scaled(images: Tensor, task: Task) -> list[Tensor]:
    """Returns the first images in other sizes, if a program is to resize them."""
    if task.preprocessing != "resize":
        return []
    sizes = [[max(1, round(side * scale)) for side in images.shape[2:]] for scale in SCALES]
    return [F.interpolate(images[:RESIZED], size) for size in sizes]
