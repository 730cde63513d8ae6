"""An exported program predicts what its model does."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import multilabel_pl
from multilabel_pl import MNISTDataModule, MultiLabelClassifier, Task, Trainer, __version__
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, LABELS, read_digits
from multilabel_pl.errors import InputError
from multilabel_pl.export.exporting import check_equal, check_exportable, export
from multilabel_pl.export.interface import as_input
from multilabel_pl.export.metadata import describe
from multilabel_pl.export.program import Program
from multilabel_pl.export.reader import check_reader, write_reader
from multilabel_pl.model.head import HeadName
from tests.conftest import BRIEF, QUIET, copied_run
from tests.data.tagged_images import write_tagged


@pytest.fixture(scope="module")
def images() -> Tensor:
    return read_digits(ARCHIVES, "test").images[:300]


def colours(images: Tensor) -> Tensor:
    """Turns grey images (B, 1, H, W) into what a program takes."""
    return as_input(images, Task((), (1, 28, 28)))


def check_metadata(metadata: dict[str, Any], model: MultiLabelClassifier) -> None:
    assert model.task is not None
    assert {name: metadata[name] for name in model.task.to_dict()} == model.task.to_dict()
    assert metadata["thresholds"] == pytest.approx(model.decision.thresholds.tolist())
    assert metadata["multilabel_pl_version"] == __version__


def test_onnxruntime_predicts_what_the_checkpoint_does(
    small_run: Path, images: Tensor, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied_run(small_run, workplace)
    main(["export"])
    out, err = capsys.readouterr()
    assert "written to runs/version_0/best.onnx, checked with 100 images: probabilities differ by " in out
    assert err == ""
    model = MultiLabelClassifier.load_from_checkpoint("runs/version_0/best.ckpt")
    session = onnxruntime.InferenceSession("runs/version_0/best.onnx")
    for batch in (images[:1], images[:2], images):
        with torch.inference_mode():
            expected, expected_tags = model.tag(batch)
        probabilities, tags = session.run(["probabilities", "tags"], {"images": colours(batch).numpy()})
        np.testing.assert_allclose(probabilities, expected, atol=1e-5, rtol=0)
        clear = (expected - model.decision.thresholds).abs() > 1e-5
        np.testing.assert_array_equal(tags[clear], expected_tags[clear])
    assert session.get_inputs()[0].shape == ["batch", "height", "width", 3]
    texts = session.get_modelmeta().custom_metadata_map
    structured = ("labels", "image_shape", "thresholds")
    check_metadata({name: json.loads(value) if name in structured else value for name, value in texts.items()}, model)


def test_torch_predicts_what_the_checkpoint_does(small_run: Path, images: Tensor, workplace: Path) -> None:
    checkpoint = str(small_run / "best.ckpt")
    main(["export", "--ckpt_path", checkpoint, "--output", "model.pt2"])
    extra = {"metadata.json": ""}
    program = torch.export.load("model.pt2", extra_files=extra).module()
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    assert check_equal(model, program, images) < 1e-5
    assert not program(colours(images[:2]))[0].requires_grad
    check_metadata(json.loads(extra["metadata.json"]), model)


NETWORKS = [
    ("conv_pool_dense", 28, "sigmoid", ".pt2"),
    ("conv_stack", 28, "softmax", ".pt2"),
    *(
        pytest.param(*network, marks=pytest.mark.slow)
        for network in [
            ("conv_pool_dense", 28, "sigmoid", ".onnx"),  # as above, by the command
            ("conv_pool_dense_keras", 28, "sigmoid", ".onnx"),
            ("conv_pool_dense_keras", 28, "sigmoid", ".pt2"),
            ("conv_stack", 28, "softmax", ".onnx"),  # as in test_reading.py
            ("test_resnet", 32, "sigmoid", ".pt2"),
            ("test_resnet", 32, "sigmoid", ".onnx"),
            ("resnet10t", 64, "softmax", ".onnx"),
            ("resnet10t", 64, "softmax", ".pt2"),
            ("vit_tiny_patch16_224", 32, "sigmoid", ".onnx"),
            ("vit_tiny_patch16_224", 32, "sigmoid", ".pt2"),
        ]
    ),
]


@pytest.mark.parametrize(("network", "size", "head", "suffix"), NETWORKS)
def test_every_network_is_exported(
    network: str, size: int, head: HeadName, suffix: str, images: Tensor, workplace: Path
) -> None:
    images = F.interpolate(images[:32].float(), size).to(torch.uint8)
    torch.manual_seed(0)
    model = MultiLabelClassifier(head, network, task=Task(LABELS, (1, size, size)))
    model.decision.slopes.uniform_(0.5, 2)  # as if calibrated
    model.decision.offsets.uniform_(-1, 1)
    model.decision.thresholds.uniform_(0, 0.9)
    assert export(model, images, Path(f"model{suffix}"), describe(model)) < 1e-3
    assert {path.name for path in workplace.iterdir()} == {f"model{suffix}", "read_for_model.py"}
    path = Path(f"model{suffix}")
    content = path.read_bytes()
    assert str(Path(multilabel_pl.__file__).parent).encode() not in content  # nothing about the machine
    assert b"program.py" not in content


class Noise(torch.nn.Module):
    """A network whose scores are random."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.rand(images.shape[0], 2, device=images.device)


@pytest.mark.parametrize("suffix", [pytest.param(".onnx", marks=pytest.mark.slow), ".pt2"])
def test_a_program_that_predicts_otherwise_is_not_written(suffix: str, images: Tensor, workplace: Path) -> None:
    model = MultiLabelClassifier(network=Noise(), task=Task(["a", "b"], (1, 28, 28)))
    output = Path(f"model{suffix}")
    output.write_text("an earlier one")
    with pytest.raises(
        InputError, match=rf"^model\{suffix} is not written, as its predictions differ from the model's: "
    ):
        export(model, images[:32], output, {})
    assert output.read_text() == "an earlier one"
    assert [path.name for path in workplace.iterdir()] == [output.name]


def test_predictions_may_differ_by_rounding_alone(small_run: Path, images: Tensor) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(small_run / "best.ckpt")

    program = Program(model)

    def off_by(amount: float, batch: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, tags = program(batch)
        return probabilities + amount, tags

    def negated(batch: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, tags = program(batch)
        return probabilities, ~tags

    assert check_equal(model, program, images[:9]) == 0
    assert check_equal(model, lambda batch: off_by(5e-6, batch), images[:9]) == pytest.approx(5e-6, rel=0.1)
    with pytest.raises(AssertionError, match="not close"):
        check_equal(model, lambda batch: off_by(3e-5, batch), images[:9])
    with pytest.raises(AssertionError, match="not equal"):
        check_equal(model, negated, images[:9])
    with torch.inference_mode():
        model.decision.thresholds.copy_(model.tag(images[:1])[0][0])  # each at the image's own probability
    assert check_equal(model, negated, images[:1]) == 0


def test_a_model_too_large_for_onnx_is_refused(workplace: Path) -> None:
    with torch.device("meta"):  # its weights are 3.4 GB
        model = MultiLabelClassifier(task=Task(["a"], (1, 640, 640)))
    model.to_empty(device="cpu")
    message = r"^the model is too large for an ONNX file: choose an output that ends in \.pt2$"
    with pytest.raises(InputError, match=message):
        export(model, torch.zeros(1, 1, 640, 640, dtype=torch.uint8), Path("model.onnx"), {})
    assert list(workplace.iterdir()) == []


def test_a_model_is_exported_without_its_data(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tagged(workplace, 40)
    words = ["--data", "TableDataModule", "--data.table", "images.csv", "--data.image_size", "16"]
    main(["fit", *QUIET, *BRIEF, *words])
    capsys.readouterr()
    main(["export", "--output", "first.pt2"])
    assert capsys.readouterr().err == ""
    Path("images.csv").unlink()
    main(["export", "--output", "again.pt2"])
    out, err = capsys.readouterr()
    assert err.startswith("note: continuing without test images: there is no table ")
    assert "written to again.pt2, checked with 100 images" in out
    main(["export", "--output", "third.pt2", "--data", "MNISTDataModule"])
    out, err = capsys.readouterr()
    assert err.startswith("note: continuing without test images: the model's images are ")
    assert "written to third.pt2, checked with 100 images" in out


def test_a_model_that_was_never_saved_is_exported(workplace: Path) -> None:
    model = MultiLabelClassifier(task=Task(LABELS, (1, 28, 28)))
    trainer = Trainer(logger=False, enable_checkpointing=False)
    trainer.export(model, MNISTDataModule(), output="model.pt2")
    assert Path("model.pt2").stat().st_size > 0
    with pytest.raises(InputError, match=r"^export needs an output, or a checkpoint to write it beside$"):
        trainer.export(model, MNISTDataModule())


def test_the_reader_of_another_program_stays(images: Tensor, workplace: Path) -> None:
    model = MultiLabelClassifier(network="conv_stack", task=Task(LABELS, (1, 28, 28)))
    other = Path("model-1.onnx")
    other.touch()
    reader = write_reader(Task(LABELS, (1, 56, 56)), other)
    before = reader.read_bytes()
    message = r"^read_for_model_1\.py reads images for model-1\.onnx, but not as model_1\.pt2 would take them: choose "
    with pytest.raises(InputError, match=message):
        export(model, images[:2], Path("model_1.pt2"), {})
    assert reader.read_bytes() == before
    assert {path.name for path in workplace.iterdir()} == {other.name, reader.name}


def test_a_reader_is_written_again_for_its_own_program_and_for_the_same_images(workplace: Path) -> None:
    task, larger = Task(LABELS, (1, 28, 28)), Task(LABELS, (1, 56, 56))
    first, second = Path("model.onnx"), Path("model.pt2")
    first.touch()
    write_reader(task, first)
    check_reader(larger, first)  # after training on larger images
    check_reader(task, second)
    second.touch()
    with pytest.raises(InputError, match=r"delete model\.pt2"):
        check_reader(larger, first)
    second.unlink()
    check_reader(larger, first)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("model.pt", r"^output must end in .onnx or .pt2, got model.pt$"),
        ("folder.onnx", r"^folder.onnx is a folder; choose another output$"),
        ("file/model.onnx", r"^file/model.onnx can't be written: Not a directory; choose another place$"),
    ],
)
def test_an_output_is_checked_before_any_work(output: str, message: str, workplace: Path) -> None:
    Path("folder.onnx").mkdir()
    Path("file").touch()
    with pytest.raises(InputError, match=message):
        check_exportable(Path(output))


def test_a_missing_package_is_named(
    small_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # what Python takes for not installed
    with pytest.raises(SystemExit) as caught:
        main(["export", "--ckpt_path", str(small_run / "best.ckpt"), "--output", "model.onnx"])
    assert caught.value.code == 2
    message = "error: export to model.onnx needs more packages: pip install 'onnxscript<"
    assert capsys.readouterr().err.startswith(message)
