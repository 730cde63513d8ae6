"""Models as files that other programs can run: ONNX, and torch.export's own format."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from multilabel_pl import __version__
from multilabel_pl.atomic import atomic_path, check_writable
from multilabel_pl.errors import InputError, check_extra
from multilabel_pl.model.classifier import MultiLabelClassifier

Runner: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]  # images to probabilities and tags

TOLERANCE = 1e-5  # of a probability
INPUT, OUTPUTS, BATCH = "images", ("probabilities", "tags"), "batch"
METADATA = "metadata.json"  # within a .pt2
LARGEST_ONNX = 1536 * 2**20  # bytes of weights; torch would write more into a second file, as ONNX ends at 2 GiB


def check_exportable(output: Path) -> None:
    """Checks that a file can be written, before any work is done.

    Raises:
        InputError: If its suffix is unknown, a package is missing, or its folder is not writable.
    """
    if output.suffix not in FORMATS:
        raise InputError(f"output must end in {' or '.join(FORMATS)}, got {output}")
    if output.is_dir():
        raise InputError(f"{output} is a folder; choose another output")
    if output.suffix == ".onnx":
        check_extra("export", f"export to {output}")
    check_writable(output)


def export(model: MultiLabelClassifier, images: Tensor, output: Path) -> float:
    """Writes a model, with its head, calibration and thresholds, as a program of its own, and checks the result.

    Its input `images` is uint8 (B, C, H, W) for any B; its outputs are `probabilities`, float32 (B, L), and `tags`,
    bool (B, L). Its metadata are the task, the thresholds and the package's version.

    Args:
        model: On the CPU; it is left in evaluation mode.
        images: To check with, uint8 (N, C, H, W), N of at least 1.
        output: The file to write, ending in .onnx or .pt2.

    Returns:
        The largest difference from the model's probabilities.

    Raises:
        InputError: If the file can't be written, the model is too large for its format, or the result differs from the
            model by more than rounding.
    """
    check_exportable(output)
    write, load = FORMATS[output.suffix]
    tagger = _Tagger(model.eval())
    example = torch.zeros(2, *images.shape[1:], dtype=torch.uint8)  # a single image would fix the batch's size
    with torch.no_grad():
        program = torch.export.export(tagger, (example,), dynamic_shapes=({0: Dim(BATCH)},), strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths on this machine, which would be written
    with atomic_path(output) as partial:
        write(program, _metadata(model), partial)
        runner = load(partial)
        try:
            return max(check_equal(model, runner, batch) for batch in (images[:1], images))
        except AssertionError as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{output} is not written, as its predictions differ from the model's: {reason}") from None


@torch.inference_mode()
def check_equal(model: MultiLabelClassifier, exported: Runner, images: Tensor) -> float:
    """Checks that an exported model predicts what the model does.

    Args:
        model: On the CPU, in evaluation mode.
        exported: Takes uint8 (B, C, H, W) and returns probabilities float32 (B, L) and tags bool (B, L).
        images: uint8 (B, C, H, W).

    Returns:
        The largest difference of probabilities.

    Raises:
        AssertionError: If a probability differs by more than 1e-5, or a tag whose probability is farther than that from
            its threshold.
    """
    expected, expected_tags = model.tag(images)
    found, found_tags = exported(images)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
    clear = (expected - model.decision.thresholds).abs() > TOLERANCE
    torch.testing.assert_close(found_tags[clear], expected_tags[clear])
    return (expected - found).abs().max().item()


class _Tagger(nn.Module):
    """A model whose output is probabilities and tags."""

    def __init__(self, model: MultiLabelClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, tags = self.model.tag(images)
        return probabilities.detach(), tags


def _metadata(model: MultiLabelClassifier) -> dict[str, Any]:
    assert model.task is not None
    return {
        **model.task.to_dict(),
        "thresholds": model.decision.thresholds.tolist(),
        "multilabel_pl_version": __version__,
    }


def _write_onnx(program: ExportedProgram, metadata: dict[str, Any], path: Path) -> None:
    if sum(weights.nbytes for weights in program.state_dict.values()) > LARGEST_ONNX:
        raise InputError("the model is too large for an ONNX file: choose an output that ends in .pt2")
    written = torch.onnx.export(
        program,
        dynamo=True,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes=({0: BATCH},),
        verbose=False,
    )
    assert written is not None
    for name, value in metadata.items():  # all as text
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
    whole = io.BytesIO()  # torch does not survive a full disk
    torch.export.save(program, whole, extra_files={METADATA: json.dumps(metadata, ensure_ascii=False)})
    path.write_bytes(whole.getbuffer())


def _load_pt2(path: Path) -> Runner:
    return torch.export.load(path).module()


FORMATS = {".onnx": (_write_onnx, _load_onnx), ".pt2": (_write_pt2, _load_pt2)}
