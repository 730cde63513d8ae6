import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multilabel_pl.errors import InputError
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.outputs import read_outputs
from tests.results.compared import an_evaluation, write_run

LABELS = ["cat", "<script>", "👍 $x$", "a|b"]
Arrays = dict[str, Any]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return write_run(an_evaluation(LABELS, seed=1), tmp_path)


def test_an_evaluation_is_read_back_with_all_its_metrics(tmp_path: Path) -> None:
    decision = Decision(LABELS, 0.5, calibrate=True)
    decision.slopes.fill_(1.7)
    decision.offsets.fill_(-0.3)
    decision.thresholds.copy_(torch.tensor([0.1, 0.9, 0.5, 1.1]))
    evaluation = replace(an_evaluation(LABELS, seed=1), decision=decision)
    evaluation.targets[3, 1] = torch.nan
    found = read_outputs(write_run(evaluation, tmp_path, data=None))
    metrics = {name: value.item() for name, value in found.evaluation.metrics.items()}
    assert metrics == {name: evaluation.metrics[name].item() for name in metrics}
    assert found.evaluation.intervals == evaluation.intervals
    assert torch.equal(found.evaluation.tags, evaluation.tags)
    assert list(found.evaluation.labels) == LABELS
    assert (found.checkpoint, found.source) == ("best.ckpt", "images of your own")


def test_numpy_reads_them(outputs: Path) -> None:
    with np.load(outputs) as arrays:
        assert arrays["logits"].shape == arrays["targets"].shape == (400, 4)
        assert arrays["labels"].tolist() == LABELS


def test_one_image_and_unknown_targets_are_no_problem(tmp_path: Path) -> None:
    unknown = torch.full((1, 2), torch.nan)
    evaluation = Evaluation(Decision(["a", "b"], 0.5, False), torch.zeros(1, 2), unknown, torch.tensor(torch.nan))
    assert read_outputs(write_run(evaluation, tmp_path)).evaluation.targets.isnan().all()


def rewritten(path: Path, change: Callable[[Arrays], Any]) -> None:
    with np.load(path) as found:
        arrays = dict(found)
    change(arrays)
    np.savez(path, **arrays)


def with_nan(arrays: Arrays) -> None:
    arrays["logits"][2, 1] = np.nan


def pickled(arrays: Arrays) -> None:
    arrays["labels"] = np.array([{}, [], "a", "b"], dtype=object)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("logits"),
        lambda arrays: arrays.pop("date"),
        lambda arrays: arrays.update(logits=arrays["logits"][:, :2]),
        lambda arrays: arrays.update(logits=arrays["logits"].astype(np.float64)),
        lambda arrays: arrays.update(logits=np.zeros((0, 4), np.float32), targets=np.zeros((0, 4), np.int8)),
        lambda arrays: arrays.update(targets=arrays["targets"][:7]),
        lambda arrays: arrays.update(targets=np.full_like(arrays["targets"], -128)),
        lambda arrays: arrays.update(thresholds=np.full(4, np.nan, np.float32)),
        lambda arrays: arrays.update(labels=np.array(["a", "a", "b", "c"])),
        lambda arrays: arrays.update(labels=np.array(["a", "\udcff", "b", "c"])),
        lambda arrays: arrays.update(labels=np.arange(4)),
        lambda arrays: arrays.update(source=np.array(["a", "b"])),
        with_nan,
        pickled,
    ],
)
def test_what_is_of_another_form_is_refused(change: Callable[[Arrays], Any], outputs: Path) -> None:
    rewritten(outputs, change)
    with pytest.raises(InputError, match=r"outputs\.npz is damaged, or of another version: run test again"):
        read_outputs(outputs)


def archive(name: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as written:
        written.writestr(name, content)
    return file.getvalue()


def header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        archive("logits.npy", b"\x93NUMPY"),
        archive("logits.npy", header((10**12, 11))),  # claims more than it has
        archive("logits.npy", bytes(10**7), zipfile.ZIP_DEFLATED),
    ],
    ids=["nothing", "a beginning", "a part", "a large shape", "a bomb"],
)
def test_what_is_no_file_of_ours_is_refused_without_taking_memory(content: bytes, outputs: Path) -> None:
    outputs.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        read_outputs(outputs)


def test_a_damaged_byte_is_noticed(outputs: Path) -> None:
    content = bytearray(outputs.read_bytes())
    content[len(content) // 2] ^= 1
    outputs.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        read_outputs(outputs)
