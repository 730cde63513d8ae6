"""Programs with lighter weights: what they cost is measured on validation images, and bounded."""

from pathlib import Path

import onnxruntime
import pytest
import torch

from multilabel_pl import MNISTDataModule, MultiLabelClassifier
from multilabel_pl.cli.main import main
from multilabel_pl.errors import InputError
from multilabel_pl.export.lighter import export_lighter
from tests.conftest import copied_run

FOUND = "exact match on {} validation images "
MEASURED = {"whole": 0, "half": 100, "int8": 50}  # of 100: int8 learns ranges from every other one


@pytest.mark.slow
def test_lighter_weights_take_less_space_and_cost_little(
    small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied_run(small_run, workplace)
    sizes = {}
    for name, words in {"whole": [], "half": ["--half", "true"], "int8": ["--int8", "true"]}.items():
        main(["export", "--output", f"{name}.onnx", "--max_loss", "3", *words])
        out, err = capsys.readouterr()
        assert err == ""
        assert (FOUND.format(MEASURED[name]) in out) == bool(words)
        sizes[name] = Path(f"{name}.onnx").stat().st_size
    assert sizes["half"] < 0.55 * sizes["whole"]
    assert sizes["int8"] < 0.35 * sizes["whole"]
    main(["export", "--output", "half.pt2", "--half", "true", "--max_loss", "3"])
    assert FOUND.format(MEASURED["half"]) in capsys.readouterr().out
    assert onnxruntime.InferenceSession("int8.onnx").get_modelmeta().custom_metadata_map["labels"]
    assert not list(run.glob(".partial*"))


@pytest.mark.slow
def test_weights_that_cost_too_much_are_not_written(small_run: Path, small_set: str, workplace: Path) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(small_run / "best.ckpt")
    data = MNISTDataModule(data_dir=small_set, val_size=200)
    data.setup("validate")
    assert data.val_set is not None
    images, _ = data.val_set.__getitems__(list(range(200)))
    with torch.inference_mode():
        dict(model.network.named_parameters())["scores.weight"].mul_(
            1e-3
        )  # so that all probabilities are close to their thresholds
        model.decision.thresholds.copy_(model.tag(images)[0].median(dim=0).values)
        data.val_set.targets = model.tag(images)[1].float()
    output = Path("int8.onnx")
    output.write_text("an earlier one")
    message = r"^int8.onnx is not written: exact match on 100 validation images .* 100.00%; to write it nevertheless, "
    with pytest.raises(InputError, match=message):
        export_lighter(model, data, output, {}, "int8", max_loss=0.5)
    assert output.read_text() == "an earlier one"
    assert [path.name for path in workplace.iterdir()] == ["int8.onnx"]
    assert "100.00%" in export_lighter(model, data, output, {}, "int8", max_loss=100)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--half", "true", "--int8", "true"], "half and int8 exclude each other: choose one"),
        (["--int8", "true", "--output", "a.pt2"], "8-bit weights are for outputs that end in .onnx, got a.pt2"),
        (["--half", "true", "--max_loss", "-1"], "max_loss must be at least 0, got -1.0"),
        (["--half", "true", "--data.val_size", "0"], "there are no images to validate on: val_size is 0; "),
        (["--int8", "true", "--data.val_size", "1"], "lighter weights are measured on validation images, of which "),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], message: str, small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied_run(small_run, workplace)
    with pytest.raises(SystemExit) as caught:
        main(["export", *words])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
