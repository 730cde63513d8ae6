"""Models as files that other programs can run: ONNX, and torch.export's own."""

import io
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from multilabel_pl import __version__
from multilabel_pl.errors import InputError
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.writing import check_writable, replacing

Runner: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]  # images to probabilities and tags

TOLERANCE = 1e-5  # of a probability
INPUT, OUTPUTS = "images", ("probabilities", "tags")
METADATA = "metadata.json"  # within a .pt2
NEEDED = {".onnx": ("onnx", "onnxruntime", "onnxscript"), ".pt2": ()}  # packages, by the file's ending


class Differences(NamedTuple):
    """How an exported model's answers differ from the model's own.

    Attributes:
        largest: Of the probabilities.
        tags: How many there are; they can only be where a probability is its threshold, but for rounding.
    """

    largest: float
    tags: int

    def __str__(self) -> str:
        """Says both."""
        return f"probabilities differ by {self.largest:.1e} at most, {self.tags or 'no'} tags differ"


def check_exportable(output: Path) -> None:
    """Finds out whether a file can be made, before any work is done.

    Raises:
        InputError: If its ending is unknown, a package is missing, or it can't be written.
    """
    if output.suffix not in NEEDED:
        raise InputError(f"output must end in {' or '.join(NEEDED)}, got {output}")
    if output.is_dir():
        raise InputError(f"{output} is a folder; name another output")
    if missing := [name for name in NEEDED[output.suffix] if find_spec(name) is None]:
        raise InputError(f"export to {output} needs more packages: pip install {' '.join(missing)}")
    check_writable(output)


def export(model: MultiLabelClassifier, images: Tensor, output: Path) -> Differences:
    """Writes a model, with its head, temperatures and thresholds, as a program of its own, and checks what was written.

    Its input `images` is uint8 (B, C, H, W) for any B; its outputs are `probabilities`, float32 (B, L), and `tags`,
    bool (B, L). The labels' names, thresholds, the form of the images and the package's version are in its metadata.

    Args:
        model: On the processor; it is left in evaluation mode.
        images: To check with, uint8 (N, C, H, W).
        output: The file to write, ending in .onnx or .pt2.

    Returns:
        How its answers to the images differ from the model's.

    Raises:
        InputError: If the file can't be written, or its answers are others than the model's.
    """
    check_exportable(output)
    write, load = FORMATS[output.suffix]
    tagger = _Tagger(model.eval())
    example = torch.zeros(2, *model.form.shape, dtype=torch.uint8)  # a single image would fix the batch's size
    with torch.no_grad():
        program = torch.export.export(tagger, (example,), dynamic_shapes=({0: Dim("batch")},), strict=False)
    with replacing(output) as partial:
        write(program, _metadata(model), partial)
        differences = _compare(tagger, load(partial), images)
        if not differences.largest <= TOLERANCE:
            raise InputError(f"{output} is not written, as it would not do as the model does: {differences}")
    return differences


class _Tagger(nn.Module):
    """A model that answers with probabilities and tags."""

    def __init__(self, model: MultiLabelClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.tag(images)


def _metadata(model: MultiLabelClassifier) -> dict[str, str]:
    form = model.form
    return {
        "labels": json.dumps(model.labels, ensure_ascii=False),
        "thresholds": json.dumps(model.thresholds.tolist()),
        "image_shape": json.dumps(form.shape),
        "preprocessing": form.preprocessing,
        "background": form.background,
        "multilabel_pl_version": __version__,
    }


@torch.inference_mode()
def _compare(tagger: nn.Module, exported: Runner, images: Tensor) -> Differences:
    """Compares the answers to one image alone, and to all in a batch."""
    pairs = [(tagger(batch), exported(batch)) for batch in (images[:1], images)]
    probabilities = torch.cat([expected[0] - found[0] for expected, found in pairs])
    tags = torch.cat([expected[1] != found[1] for expected, found in pairs])
    return Differences(probabilities.abs().max().item(), int(tags.sum()))


def _write_onnx(program: ExportedProgram, metadata: dict[str, str], path: Path) -> None:
    written = torch.onnx.export(
        program, dynamo=True, input_names=[INPUT], output_names=list(OUTPUTS), external_data=False, verbose=False
    )
    assert written is not None
    written.model.metadata_props.update(metadata)
    written.save(path)


def _load_onnx(path: Path) -> Runner:
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, tags = (torch.from_numpy(part) for part in session.run(OUTPUTS, {INPUT: images.numpy()}))
        return probabilities, tags

    return run


def _write_pt2(program: ExportedProgram, metadata: dict[str, str], path: Path) -> None:
    whole = io.BytesIO()  # a full disk is nothing that torch survives
    torch.export.save(program, whole, extra_files={METADATA: json.dumps(metadata, ensure_ascii=False)})
    path.write_bytes(whole.getbuffer())


def _load_pt2(path: Path) -> Runner:
    return torch.export.load(path).module()


FORMATS = {".onnx": (_write_onnx, _load_onnx), ".pt2": (_write_pt2, _load_pt2)}
