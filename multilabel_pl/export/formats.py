"""The files of programs: ONNX, and torch.export's own format."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.export import ExportedProgram

from multilabel_pl.errors import InputError
from multilabel_pl.export.interface import INPUT, ONNX, OUTPUTS, Metadata, free_dimensions
from multilabel_pl.task import Task

Runner: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]  # images (B, H, W, 3) to probabilities and tags (B, L)

METADATA = "metadata.json"  # within a .pt2
LARGEST_ONNX = 1536 * 2**20  # bytes of weights; torch would write more into a second file, as ONNX ends at 2 GiB


def _write_onnx(program: ExportedProgram, task: Task, metadata: Metadata, path: Path) -> None:
    if sum(weights.nbytes for weights in program.state_dict.values()) > LARGEST_ONNX:
        raise InputError("the model is too large for an ONNX file: choose an output that ends in .pt2")
    written = torch.onnx.export(
        program,
        dynamo=True,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes=(free_dimensions(task),),
        verbose=False,
    )
    assert written is not None
    for name, value in metadata.items():  # all as text
        written.model.metadata_props[name] = value if isinstance(value, str) else _json(value)
    written.save(path)


def _load_onnx(path: Path) -> Runner:
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, tags = (torch.from_numpy(part) for part in session.run(OUTPUTS, {INPUT: images.numpy()}))
        return probabilities, tags

    return run


def _write_pt2(program: ExportedProgram, task: Task, metadata: Metadata, path: Path) -> None:
    whole = io.BytesIO()  # torch does not survive a full disk
    torch.export.save(program, whole, extra_files={METADATA: _json(metadata)})
    path.write_bytes(whole.getbuffer())


def _load_pt2(path: Path) -> Runner:
    return torch.export.load(path).module()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


PT2 = ".pt2"
FORMATS = {ONNX: (_write_onnx, _load_onnx), PT2: (_write_pt2, _load_pt2)}  # by the endings of files
