"""What is exported does as the model does."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

import multilabel_pl
from multilabel_pl import MNISTDataModule, MultiLabelClassifier, __version__
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import LABELS
from multilabel_pl.errors import InputError
from multilabel_pl.model.head import HeadName
from multilabel_pl.results.export import compare, export
from multilabel_pl.training.trainer import Trainer
from tests.conftest import BRIEF, QUIET
from tests.data.pictures import write_tagged


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    data = MNISTDataModule()
    data.setup("test")
    assert data.test_set is not None
    return data.test_set.images[:1001]


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_onnxruntime_answers_as_the_checkpoint_does(
    head: HeadName,
    runs: dict[HeadName, Path],
    images: torch.Tensor,
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(runs[head], "runs/version_0")
    main(["export"])
    told = capsys.readouterr()
    assert "written to runs/version_0/best.onnx, checked with 100 images: probabilities differ by " in told.out
    assert "no tags differ" in told.out
    assert told.err == ""
    model = MultiLabelClassifier.load_from_checkpoint("runs/version_0/best.ckpt").eval()
    session = onnxruntime.InferenceSession("runs/version_0/best.onnx")
    for batch in (images[:1], images[:2], images):
        with torch.inference_mode():
            expected = model.tag(batch)
        probabilities, tags = session.run(["probabilities", "tags"], {"images": batch.numpy()})
        np.testing.assert_allclose(probabilities, expected[0], atol=1e-5, rtol=0)
        np.testing.assert_array_equal(tags, expected[1])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["labels"]) == list(LABELS)
    assert json.loads(metadata["thresholds"]) == pytest.approx(model.thresholds.tolist())
    assert json.loads(metadata["image_shape"]) == [1, 28, 28]
    assert session.get_inputs()[0].shape == ["batch", 1, 28, 28]
    assert metadata["preprocessing"] == "mnist"
    assert metadata["multilabel_pl_version"] == __version__


class Noise(torch.nn.Module):
    """A network that answers otherwise every time."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.rand(images.shape[0], 2, device=images.device)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_what_would_answer_otherwise_is_not_written(suffix: str, images: torch.Tensor, workplace: Path) -> None:
    model = MultiLabelClassifier(labels=["a", "b"], image_shape=(1, 28, 28))
    model.network = Noise()
    output = Path(f"model{suffix}")
    output.write_text("an earlier one")
    with pytest.raises(InputError, match=f"model{suffix} is not written, as it would not do as the model does"):
        export(model, images[:32], output)
    assert output.read_text() == "an earlier one"
    assert [path.name for path in workplace.iterdir()] == [output.name]


def test_tags_may_differ_by_rounding_alone(checkpoint: str, images: torch.Tensor) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint).eval()

    def negated(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        probabilities, tags = model.tag(batch)
        return probabilities, ~tags

    differences = compare(model, negated, images[:9])
    assert differences == (0, 110, 110)
    assert not differences.are_tolerable
    with torch.inference_mode():
        model.thresholds.copy_(model.tag(images[:1])[0][0])  # each at the image's own probability
    differences = compare(model, negated, images[:1])
    assert differences == (0, 22, 0)
    assert differences.are_tolerable


def test_a_model_too_large_for_onnx_is_told(workplace: Path) -> None:
    with torch.device("meta"):  # its weights are 1.7 GB
        model = MultiLabelClassifier(labels=["a"], image_shape=(1, 640, 640))
    model.to_empty(device="cpu")
    with pytest.raises(InputError, match=r"the model is too large for an ONNX file: name an output that ends in .pt2"):
        export(model, torch.zeros(1, 1, 640, 640, dtype=torch.uint8), Path("model.onnx"))
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_file_tells_nothing_of_the_machine(suffix: str, images: torch.Tensor, workplace: Path) -> None:
    model = MultiLabelClassifier(network="conv_stack", labels=["a"], image_shape=(1, 28, 28))
    export(model, images[:2], Path(f"model{suffix}"))
    content = Path(f"model{suffix}").read_bytes()
    assert str(Path(multilabel_pl.__file__).parent).encode() not in content
    assert b"export.py" not in content


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
@pytest.mark.parametrize(
    ("network", "size"), [("conv_pool_dense", 28), ("conv_stack", 28), ("resnet10t", 64), ("vit_tiny_patch16_224", 32)]
)
def test_every_network_is_exported(
    network: str, size: int, head: HeadName, suffix: str, images: torch.Tensor, workplace: Path
) -> None:
    images = F.interpolate(images[:32].float(), size).to(torch.uint8)
    torch.manual_seed(0)
    model = MultiLabelClassifier(head, network, labels=list(LABELS), image_shape=(1, size, size))
    model.temperatures.uniform_(0.5, 2)  # as if calibrated
    model.thresholds.uniform_(0, 0.9)
    differences = export(model, images, Path(f"model{suffix}"))
    assert differences.tags == 0
    assert [path.name for path in workplace.iterdir()] == [f"model{suffix}"]  # in one file


def test_a_pt2_file_is_torchs_alone(checkpoint: str, images: torch.Tensor, workplace: Path) -> None:
    main(["export", "--ckpt_path", checkpoint, "--output", "model.pt2"])
    extra = {"metadata.json": ""}
    program = torch.export.load("model.pt2", extra_files=extra).module()
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint).eval()
    with torch.inference_mode():
        expected = model.tag(images)
    probabilities, tags = program(images)
    assert torch.allclose(probabilities, expected[0], atol=1e-5, rtol=0)
    assert torch.equal(tags, expected[1])
    assert not probabilities.requires_grad
    metadata = json.loads(extra["metadata.json"])
    assert metadata["labels"] == list(LABELS)
    assert metadata["thresholds"] == pytest.approx(model.thresholds.tolist())
    assert metadata["image_shape"] == [1, 28, 28]
    assert metadata["preprocessing"] == "mnist"


def test_a_model_is_exported_without_its_data(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tagged(workplace, 60)
    main(["fit", *QUIET, *BRIEF, "--data", "TableDataModule", "--data.table", "pictures.csv"])
    main(["export"])
    assert capsys.readouterr().err == ""
    Path("pictures.csv").unlink()
    main(["export", "--output", "again.onnx"])
    told = capsys.readouterr()
    assert told.err.startswith("note: going on without test images: ")
    assert "written to again.onnx, checked with 100 images" in told.out
    main(["export", "--output", "third.pt2", "--data", "MNISTDataModule"])
    told = capsys.readouterr()
    assert told.err.startswith("note: going on without test images: the model's images are ")
    assert "written to third.pt2, checked with 100 images" in told.out


def test_a_model_that_was_never_saved_is_exported(workplace: Path) -> None:
    data = MNISTDataModule()
    model = MultiLabelClassifier(labels=data.labels, image_shape=(1, 28, 28))
    Trainer(logger=False, enable_checkpointing=False).export(model, data, output="model.pt2")
    assert Path("model.pt2").stat().st_size > 0


def test_a_missing_package_is_named(
    checkpoint: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # what Python takes for not installed
    with pytest.raises(SystemExit) as caught:
        main(["export", "--ckpt_path", checkpoint, "--output", "model.onnx"])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: export to model.onnx needs more packages: pip install 'onnxscript<")
