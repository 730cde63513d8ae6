"""Models as files that other programs can run: ONNX, and torch.export's own."""

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from multilabel_pl import __version__
from multilabel_pl.atomic import check_writable, replacing
from multilabel_pl.errors import InputError
from multilabel_pl.extras import check_extra
from multilabel_pl.model.classifier import MultiLabelClassifier

Runner: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]  # images to probabilities and tags

TOLERANCE = 1e-5  # of a probability
INPUT, OUTPUTS, BATCH = "images", ("probabilities", "tags"), "batch"
METADATA = "metadata.json"  # within a .pt2
LARGEST_ONNX = 1536 * 2**20  # bytes of weights; torch would write more into a second file, as ONNX ends at 2 GiB


class Differences(NamedTuple):
    """How an exported model's answers differ from the model's own.

    Attributes:
        largest: Of the probabilities.
        tags: How many there are.
        wrong_tags: How many of these are not due to a probability that is at its threshold, but for rounding.
    """

    largest: float
    tags: int
    wrong_tags: int

    @property
    def are_tolerable(self) -> bool:
        """Whether they are due to rounding alone."""
        return self.largest <= TOLERANCE and self.wrong_tags == 0  # not if they are NaN

    def __str__(self) -> str:
        """Says both."""
        return f"probabilities differ by {self.largest:.1e} at most, {self.tags or 'no'} tags differ"


def check_exportable(output: Path) -> None:
    """Finds out whether a file can be made, before any work is done.

    Raises:
        InputError: If its ending is unknown, a package is missing, or it can't be written.
    """
    if output.suffix not in FORMATS:
        raise InputError(f"output must end in {' or '.join(FORMATS)}, got {output}")
    if output.is_dir():
        raise InputError(f"{output} is a folder; name another output")
    if output.suffix == ".onnx":
        check_extra("export", f"export to {output}")
    check_writable(output)


def export(model: MultiLabelClassifier, images: Tensor, output: Path) -> Differences:
    """Writes a model, with its head, temperatures and thresholds, as a program of its own, and checks what was written.

    Its input `images` is uint8 (B, C, H, W) for any B; its outputs are `probabilities`, float32 (B, L), and `tags`,
    bool (B, L). The labels' names, thresholds, the form of the images and the package's version are in its metadata.

    Args:
        model: On the processor; it is left in evaluation mode.
        images: To check with, uint8 (N, C, H, W), N of at least 1.
        output: The file to write, ending in .onnx or .pt2.

    Returns:
        How its answers to the images differ from the model's.

    Raises:
        InputError: If the file can't be written, the model is too large for its format, or what was written would
            answer otherwise than the model.
    """
    check_exportable(output)
    write, load = FORMATS[output.suffix]
    tagger = _Tagger(model.eval())
    example = torch.zeros(2, *model.form.shape, dtype=torch.uint8)  # a single image would fix the batch's size
    with torch.no_grad():
        program = torch.export.export(tagger, (example,), dynamic_shapes=({0: Dim(BATCH)},), strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths on this machine, which would be written
    with replacing(output) as partial:
        write(program, _metadata(model), partial)
        differences = compare(model, load(partial), images)
        if not differences.are_tolerable:
            raise InputError(f"{output} is not written, as it would not do as the model does: {differences}")
    return differences


@torch.inference_mode()
def compare(model: MultiLabelClassifier, exported: Runner, images: Tensor) -> Differences:
    """Compares a model's answers with those of an exported one: to an image alone, and to all in a batch.

    Args:
        model: On the processor, in evaluation mode.
        exported: What takes uint8 (B, C, H, W) and returns probabilities float32 (B, L) and tags bool (B, L).
        images: uint8 (N, C, H, W), N of at least 1.
    """
    batches = (images[:1], images)
    expected, expected_tags = _joined(map(model.tag, batches))
    found, found_tags = _joined(map(exported, batches))
    differ = expected_tags != found_tags
    wrong = differ & ((expected - model.thresholds).abs() > TOLERANCE)
    return Differences((expected - found).abs().max().item(), int(differ.sum()), int(wrong.sum()))


def _joined(answers: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    probabilities, tags = zip(*answers, strict=True)
    return torch.cat(probabilities), torch.cat(tags)


class _Tagger(nn.Module):
    """A model that answers with probabilities and tags."""

    def __init__(self, model: MultiLabelClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, tags = self.model.tag(images)
        return probabilities.detach(), tags


def _metadata(model: MultiLabelClassifier) -> dict[str, Any]:
    form = model.form
    return {
        "labels": model.labels,
        "thresholds": model.thresholds.tolist(),
        "image_shape": form.shape,
        "preprocessing": form.preprocessing,
        "background": form.background,
        "multilabel_pl_version": __version__,
    }


def _write_onnx(program: ExportedProgram, metadata: dict[str, Any], path: Path) -> None:
    if sum(weights.nbytes for weights in program.state_dict.values()) > LARGEST_ONNX:
        raise InputError("the model is too large for an ONNX file: name an output that ends in .pt2")
    written = torch.onnx.export(
        program,
        dynamo=True,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes=({0: BATCH},),
        verbose=False,
    )
    assert written is not None
    for name, value in metadata.items():  # all of them texts
        written.model.metadata_props[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    written.save(path)


def _load_onnx(path: Path) -> Runner:
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, tags = (torch.from_numpy(part) for part in session.run(OUTPUTS, {INPUT: images.numpy()}))
        return probabilities, tags

    return run


def _write_pt2(program: ExportedProgram, metadata: dict[str, Any], path: Path) -> None:
    whole = io.BytesIO()  # a full disk is nothing that torch survives
    torch.export.save(program, whole, extra_files={METADATA: json.dumps(metadata, ensure_ascii=False)})
    path.write_bytes(whole.getbuffer())


def _load_pt2(path: Path) -> Runner:
    return torch.export.load(path).module()


FORMATS = {".onnx": (_write_onnx, _load_onnx), ".pt2": (_write_pt2, _load_pt2)}
