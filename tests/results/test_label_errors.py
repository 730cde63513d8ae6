"""Labels that are likely wrong are found, and named."""

import csv
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.label_errors import SHARE, TOP, FlippedSceneDataModule
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import LABELS
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.label_errors import find_label_errors, write_label_errors
from tests.conftest import BRIEF, QUIET
from tests.data.tagged_images import write_tagged

pytest.importorskip("cleanlab")
DATA = f"{FlippedSceneDataModule.__module__}.{FlippedSceneDataModule.__qualname__}"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def evaluation(probabilities: Tensor, targets: Tensor, labels: list[str]) -> Evaluation:
    return Evaluation(Decision(labels, 0.5, calibrate=False), probabilities.logit(), targets, torch.tensor(0.0))


@pytest.mark.slow
def test_the_first_suggestions_are_flipped_labels(workplace: Path) -> None:
    data = ["--data", DATA, "--data.train_size", "3000", "--data.val_size", "500", "--data.test_size", "3000"]
    model = ["--model.network", "conv_stack", "--model.lr", "0.003", "--model.lr_schedule", "one_cycle"]
    main(["fit", *QUIET, *data, *model, "--trainer.max_epochs", "8"])
    main(["test", *QUIET, *data, "--label_errors", "true", "--figures", "false"])
    scenes = FlippedSceneDataModule(test_size=3000)
    scenes.setup("test")
    assert scenes.test_set is not None
    found = rows(Path("runs/version_0/test/label_errors.csv"))
    given = [scenes.test_set.targets[int(row["index"]), LABELS.index(row["label"])].item() for row in found]
    assert [float(row["given"]) for row in found] == given
    assert [float(row["suggested"]) for row in found] == [1 - value for value in given]
    of_given = [float(row["probability"]) if row["given"] == "1" else 1 - float(row["probability"]) for row in found]
    assert of_given == pytest.approx(sorted(of_given), abs=1e-5)  # as many decimals are written
    flipped = [scenes.flips[int(row["index"]), LABELS.index(row["label"])].item() for row in found[:TOP]]
    assert len(flipped) == TOP
    assert sum(flipped) >= 0.8 * TOP
    assert sum(flipped) > 10 * SHARE * TOP
    report = Path("runs/version_0/test/report.md").read_text(encoding="utf-8")
    assert f"{len(found):,} of 33,000 known decisions of the data are likely wrong, all in label_errors.csv" in report
    assert f"| {found[0]['index']} " in report


def with_errors() -> tuple[Tensor, Tensor]:
    """Returns probabilities and targets, (200, 4), whose first ten images are wrong."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(200, 4, generator=generator) < 0.4
    targets = truth.float()
    targets[:10] = 1 - targets[:10]
    return truth * 0.9 + 0.05 + 0.04 * torch.rand(200, 4, generator=generator), targets


def test_unknown_and_rare_labels_are_not_suggested() -> None:
    probabilities, targets = with_errors()
    targets[5:10, 0] = torch.nan
    targets[:, 1] = 0
    targets[10:, 2] = torch.nan
    found = find_label_errors(evaluation(probabilities, targets, ["a", "nowhere", "known of few", "d"]))
    assert set(zip(found.images.tolist(), found.labels.tolist(), strict=True)) == {
        *((image, 0) for image in range(5)),
        *((image, 3) for image in range(10)),
    }
    assert torch.equal(found.given, targets[found.images, found.labels] > 0)


def test_labels_may_have_any_characters(workplace: Path) -> None:
    labels = ["$5_$10", 'a, "b"\n🐈|x', "=1+1", "عربى"]
    tested = evaluation(*with_errors(), labels)
    text = write_label_errors(tested, find_label_errors(tested), None, Path("e.csv"))
    found = rows(Path("e.csv"))
    assert {(row["index"], row["label"]) for row in found} == {(str(i), name) for i in range(10) for name in labels}
    assert text.startswith("40 of 800 known decisions of the data are likely wrong, all in label_errors.csv; ")
    assert len(text.splitlines()) == 2 + 2 + 20


def test_images_are_named_by_their_paths(workplace: Path) -> None:
    write_tagged(workplace, 60)
    main(["fit", "images.csv", *QUIET, *BRIEF, "--data.image_size", "16", "--data.num_workers", "0"])
    for command in ("validate", "test"):
        main([command, *QUIET, "--label_errors", "true", "--figures", "false"])
        folder = Path("runs/version_0", command)
        assert (folder / "label_errors.csv").read_text(encoding="utf-8").startswith("path,label,given,suggested,prob")
        assert "known decisions of the data are likely wrong" in (folder / "report.md").read_text(encoding="utf-8")


def test_a_missing_package_is_named_first(
    checkpoint: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    with pytest.raises(SystemExit) as caught:
        main(["test", checkpoint, *QUIET, "--label_errors", "true"])
    assert caught.value.code == 2
    expected = "error: the search for label errors needs more packages: pip install 'cleanlab"
    assert capsys.readouterr().err.startswith(expected)
