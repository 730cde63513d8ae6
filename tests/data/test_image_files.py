import csv
import json
import os
from functools import cache
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from multilabel_pl import ImageFilesDataModule, MultiLabelClassifier, Task
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, LABELS, read_digits
from multilabel_pl.errors import InputError
from tests.conftest import BRIEF, QUIET
from tests.data.test_mnist import write_set
from tests.images.photograph import photograph

MISSING = "No such file or directory"
TEST_IMAGES = read_digits(ARCHIVES, "test").images


@cache
def photographs() -> list[bytes]:
    rng = np.random.default_rng(0)
    return [photograph(digit, rng) for digit in TEST_IMAGES[:40]]


@pytest.fixture
def scans(workplace: Path) -> Path:
    """A folder of 40 photographed digits, more than a batch."""
    folder = workplace / "scans"
    folder.mkdir()
    for index, content in enumerate(photographs()):
        (folder / f"{index:02}.jpg").write_bytes(content)
    return folder


def predict(checkpoint: str, *words: str) -> None:
    own = [] if "--data.num_workers" in words else ["--data.num_workers", "0"]
    main(["predict", *QUIET, "--ckpt_path", checkpoint, "--data", "ImageFilesDataModule", *own, *words])


def fail(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Runs a command that must fail with a single line on standard error, and returns this line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_photographs_are_tagged_as_the_images_they_show(checkpoint: str, scans: Path) -> None:
    predict(checkpoint, "--data.path", "scans", "--output", "predictions.csv")
    rows = rows_of("predictions.csv")
    assert list(rows[0]) == ["path", "tags", "error", *LABELS]
    assert [row["path"] for row in rows] == [f"scans/{index:02}.jpg" for index in range(40)]
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    originals = model.predict_images(TEST_IMAGES[:40])
    same = [row["tags"] == "|".join(original.tags) for row, original in zip(rows, originals, strict=True)]
    assert np.mean(same) > 0.85
    files = model.predict_images(sorted(scans.iterdir()))
    assert [row["tags"] for row in rows] == ["|".join(prediction.tags) for prediction in files]
    for row, prediction in zip(rows, files, strict=True):
        assert [float(row[label]) for label in LABELS] == pytest.approx(
            list(prediction.probabilities.values()), abs=1e-5
        )
    assert not Path("predictions.png").exists()


def test_the_preprocessing_can_be_changed(checkpoint: str, scans: Path) -> None:
    predict(checkpoint, "--data.path", "scans/*.jpg", "--data.preprocessing", "resize", "--output", "p.csv")
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    originals = model.predict_images(TEST_IMAGES[:40])
    same = [row["tags"] == "|".join(original.tags) for row, original in zip(rows_of("p.csv"), originals, strict=True)]
    assert np.mean(same) < 0.3


def test_workers_and_batches_change_nothing(checkpoint: str, scans: Path) -> None:
    options = [["--data.num_workers", "0"], ["--data.batch_size", "7", "--data.num_workers", "2"]]
    for index, words in enumerate(options):
        predict(checkpoint, "--data.path", "scans", "--output", f"{index}.csv", *words)
    for row, other in zip(*map(rows_of, ["0.csv", "1.csv"]), strict=True):
        assert [row[name] for name in ("path", "tags")] == [other[name] for name in ("path", "tags")]
        assert [float(row[label]) for label in LABELS] == pytest.approx(
            [float(other[label]) for label in LABELS], abs=1e-5
        )


def test_json_lines_and_a_contact_sheet(checkpoint: str, scans: Path) -> None:
    predict(checkpoint, "--data.path", '["scans/03.jpg", "scans/1*.jpg"]', "--output", "p.jsonl", "--figure", "true")
    rows = [json.loads(line) for line in Path("p.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["path"] for row in rows] == ["scans/03.jpg", *(f"scans/1{digit}.jpg" for digit in range(10))]
    for row in rows:
        assert list(row) == ["path", "tags", "error", "probabilities"]
        assert tuple(row["probabilities"]) == LABELS
        assert row["error"] is None
        assert set(row["tags"]) <= set(LABELS)
    sheet = matplotlib.image.imread("p.png")
    assert sheet.std() > 0.1
    assert sheet.shape[1] > sheet.shape[0]  # ten in a row, and one below


def test_labelled_images_go_into_json_lines_and_sheets_too(checkpoint: str, workplace: Path) -> None:
    write_set(workplace / "set", digits=[1, 8] * 10)
    words = ["--data.data_dir", "set", "--output", "p.jsonl", "--figure", "true"]
    main(["predict", *QUIET, "--ckpt_path", checkpoint, *words])
    rows = [json.loads(line) for line in Path("p.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["true_tags"] for row in rows] == [["1"], ["8", "≥5"]] * 10
    assert list(rows[0]) == ["index", "true_tags", "predicted_tags", "probabilities"]
    assert matplotlib.image.imread("p.png").std() > 0.1


def test_an_unreadable_file_is_named_and_the_others_are_tagged(
    checkpoint: str, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scans / "05.jpg").write_bytes((scans / "05.jpg").read_bytes()[:300])
    (scans / "07.jpg").write_text("no image")
    words = ["--data.path", "scans/0*", "--data.num_workers", "0", "--figure", "true"]
    with pytest.raises(SystemExit) as caught:
        predict(checkpoint, *words, "--output", "p.csv")
    assert caught.value.code == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: scans/05.jpg ")
    assert second == "warning: scans/07.jpg is not an image, or is damaged"
    assert Path("p.png").is_file()
    rows = rows_of("p.csv")
    assert len(rows) == 10
    assert [row["path"] for row in rows if row["error"]] == ["scans/05.jpg", "scans/07.jpg"]
    for i, row in enumerate(rows):
        assert [row[label] == "" for label in LABELS] == [i in (5, 7)] * 11
    assert rows[5]["tags"] == rows[7]["tags"] == ""


def test_a_missing_file_of_a_list_is_named_and_the_others_are_tagged(
    checkpoint: str, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("list.txt").write_text("scans/01.jpg\n\nscans/gone.jpg\nscans/02*\n", encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main(["predict", checkpoint, *QUIET, "--list", "list.txt", "--output", "p.csv"])
    assert caught.value.code == 1
    seen = capsys.readouterr()
    assert seen.err == "warning: scans/gone.jpg can't be read: No such file or directory\n"
    assert "2 images tagged: written to p.csv" in seen.out
    assert [row["path"] for row in rows_of("p.csv")] == ["scans/01.jpg", "scans/gone.jpg", "scans/02.jpg"]
    assert fail(capsys, "predict", checkpoint, "--list", "gone.txt").endswith(
        "gone.txt can't be read as one: " + MISSING
    )


def test_names_in_a_list_may_have_any_sign_and_be_too_long(
    checkpoint: str, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = "scans/a\u2028b\x85c.jpg"
    (scans / "01.jpg").rename(odd)
    long = f"{'x' * 256}.jpg"
    Path("list.txt").write_text(f"{long}\n{odd}\n", encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main(["predict", checkpoint, *QUIET, "--list", "list.txt", "--output", "p.csv"])
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"warning: {long} can't be read: File name too long\n"
    assert [(row["path"], row["error"] == "") for row in rows_of("p.csv")] == [(long, False), (odd, True)]


def test_a_folder_is_predicted_from_python(checkpoint: str, scans: Path) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    assert model.predict_images("scans") == model.predict_images(sorted(scans.iterdir()))
    with pytest.raises(InputError, match=r"^images must be paths, Pillow images, tensors or arrays, got 5$"):
        model.predict_images(5)  # type: ignore[arg-type]


def test_an_unreadable_file_has_its_line_in_json_too(checkpoint: str, scans: Path) -> None:
    (scans / "05.jpg").write_text("no image")
    with pytest.raises(SystemExit):
        predict(checkpoint, "--data.path", '["scans/05.jpg", "scans/06.jpg"]', "--output", "p.jsonl")
    first, second = map(json.loads, Path("p.jsonl").read_text(encoding="utf-8").splitlines())
    assert first == {
        "path": "scans/05.jpg",
        "tags": [],
        "error": "scans/05.jpg is not an image, or is damaged",
        "probabilities": {},
    }
    assert (second["error"], tuple(second["probabilities"])) == (None, LABELS)


def test_a_blank_page_has_no_tags(checkpoint: str, scans: Path) -> None:
    Image.new("L", (300, 200), 230).save(scans / "05.jpg")
    with pytest.raises(SystemExit) as caught:
        predict(checkpoint, "--data.path", "scans/0*.jpg", "--output", "p.csv")
    assert caught.value.code == 1
    [row] = [row for row in rows_of("p.csv") if row["error"]]
    assert row["error"] == "scans/05.jpg: no digit found: the page looks blank"
    assert (row["path"], row["tags"], row["0"]) == ("scans/05.jpg", "", "")


def test_a_figure_does_not_replace_an_image(
    checkpoint: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(TEST_IMAGES[0, 0].numpy()).save("scan.png")
    before = Path("scan.png").read_bytes()
    words = ["--data", "ImageFilesDataModule", "--data.path", "scan.png", "--output", "scan.csv", "--figure", "true"]
    error = fail(capsys, "predict", *QUIET, "--ckpt_path", checkpoint, *words)
    assert "scan.png would replace an image that is to be predicted; choose another output" in error
    assert Path("scan.png").read_bytes() == before
    assert not Path("scan.csv").exists()


def test_a_name_that_is_not_utf_8_is_escaped(checkpoint: str, workplace: Path) -> None:
    Path("scans").mkdir()
    name = os.fsdecode(b"scans/lat\xe9in.png")
    Image.fromarray(TEST_IMAGES[0, 0].numpy()).save(name)
    for output in ("p.csv", "p.jsonl"):
        predict(checkpoint, "--data.path", "scans", "--output", output, "--figure", "true")
    assert rows_of("p.csv")[0]["path"] == r"scans/lat\udce9in.png"
    assert json.loads(Path("p.jsonl").read_text())["tags"] == rows_of("p.csv")[0]["tags"].split("|")


@pytest.mark.parametrize("command", ["fit", "validate", "test", "tune", "export"])
def test_files_without_labels_are_for_predict(
    command: str, checkpoint: str, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--ckpt_path", checkpoint, "--data", "ImageFilesDataModule", "--data.path", "scans"]
    message = f"{command} needs labelled images, which ImageFilesDataModule does not have: choose other --data"
    assert fail(capsys, command, *QUIET, *words) == f"error: {message}"


def test_a_checkpoint_records_its_preprocessing(checkpoint: str, workplace: Path) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    assert model.task == Task(LABELS, (1, 28, 28), "mnist")
    write_set(workplace / "set", digits=[1, 8] * 10)
    options = ["--data.data_dir", "set", "--data.val_size", "4"]
    main(["fit", *QUIET, *BRIEF, *options])
    main(["fit", *QUIET, *BRIEF, *options, "--data.preprocessing", "mnist"])
    for version, expected in ((0, "resize"), (1, "mnist")):
        parameters = torch.load(f"runs/version_{version}/best.ckpt", weights_only=True)["hyper_parameters"]
        assert parameters["task"]["preprocessing"] == expected


def test_any_trainer_predicts_files(checkpoint: str, scans: Path) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    data = ImageFilesDataModule(str(scans), preprocessing="resize", num_workers=0)
    batches = Trainer(logger=False, enable_progress_bar=False).predict(model, datamodule=data)
    assert batches is not None
    assert [len(batch.tags) for batch in batches] == [32, 8]  # type: ignore[union-attr]
    assert data.task == Task(LABELS, (1, 28, 28), "resize")


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_files_have_no_labels_for_another_stage(stage: str) -> None:
    with pytest.raises(InputError, match=rf"^ImageFilesDataModule has no labels for {stage}: it is for predict$"):
        ImageFilesDataModule("scans").setup(stage)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"num_workers": -1}], ids=str)
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    [(name, value)] = options.items()
    with pytest.raises(InputError, match=f"{name} must be at least .*, got {value}"):
        ImageFilesDataModule("scans", **options)  # type: ignore[arg-type] # of one name or another


def test_a_model_without_labels_cannot_predict_files(scans: Path) -> None:
    trainer = Trainer(logger=False, enable_progress_bar=False)
    with pytest.raises(InputError, match=r"^the model has no labels yet: fit it, or load it from a checkpoint$"):
        trainer.predict(MultiLabelClassifier(), datamodule=ImageFilesDataModule(str(scans)))
