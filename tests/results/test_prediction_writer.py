import csv
import json
import resource
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import torch

from multilabel_pl import MNISTDataModule, MultiLabelClassifier, Trainer
from multilabel_pl.data.mnist import LABELS
from multilabel_pl.errors import InputError
from multilabel_pl.results.prediction_tables import CsvFormat

TABLE_SIZE = 60_000  # bytes, more than the table of 300 images has, and less than a sheet of 100


@pytest.fixture
def model(small_run: Path) -> MultiLabelClassifier:
    return MultiLabelClassifier.load_from_checkpoint(small_run / "best.ckpt")


@pytest.fixture
def data(small_set: str) -> MNISTDataModule:
    return MNISTDataModule(data_dir=small_set)  # 300 test images


def predict(model: MultiLabelClassifier, data: MNISTDataModule, limit: int | None = None, **options: Any) -> None:
    Trainer(logger=False, enable_progress_bar=False, limit_predict_batches=limit).predict(
        model, datamodule=data, **options
    )


def test_a_table_has_a_row_for_each_image_in_order(
    model: MultiLabelClassifier, data: MNISTDataModule, workplace: Path
) -> None:
    predict(model, data, output="new/p.csv", figure=False)
    assert data.test_set is not None
    with Path("new/p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "true_tags", "predicted_tags", *LABELS]
    assert [int(row["index"]) for row in rows] == list(range(300))
    with torch.inference_mode():
        probabilities, tags = model.tag(data.test_set.images)
    for row, target, predicted, numbers in zip(rows, data.test_set.targets, tags, probabilities, strict=True):
        for column, values in (("true_tags", target), ("predicted_tags", predicted)):
            assert row[column] == "|".join(label for label, value in zip(LABELS, values, strict=True) if value)
        assert [float(row[label]) for label in LABELS] == pytest.approx(numbers.tolist(), abs=1e-5)
    assert [path.name for path in Path("new").iterdir()] == ["p.csv"]


def test_a_part_of_the_images_has_a_part_of_the_rows(
    model: MultiLabelClassifier, data: MNISTDataModule, workplace: Path
) -> None:
    predict(model, data, limit=1, output="p.jsonl", figure=[0, 249])
    rows = [json.loads(line) for line in Path("p.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["index"] for row in rows] == list(range(250))  # one batch
    assert tuple(rows[0]["probabilities"]) == LABELS
    assert matplotlib.image.imread("p.png").std() > 0.1


def test_names_are_no_formulas_in_a_spreadsheet(workplace: Path) -> None:
    labels = ["=1+1", "-cat", "dog"]
    rows = [{"path": "@a.png", "tags": ["=1+1", "dog"], "error": None}]
    for spreadsheet in (True, False):
        table = CsvFormat(list(rows[0]), labels, spreadsheet)
        Path(f"{spreadsheet}.csv").write_bytes(table.header + table.encode(rows, torch.ones(1, 3)))
    with Path("True.csv").open(encoding="utf-8", newline="") as file:
        header, row = csv.reader(file)
    assert header == ["path", "tags", "error", "'=1+1", "'-cat", "dog"]
    assert row[:2] == ["'@a.png", "'=1+1|dog"]
    assert Path("False.csv").read_text(encoding="utf-8").startswith("path,tags,error,=1+1,-cat,dog\n@a.png,")


def test_heat_maps_are_drawn_of_the_images_and_labels_asked_for(
    model: MultiLabelClassifier, data: MNISTDataModule, workplace: Path
) -> None:
    tables, drawings = [], []
    for explain in (["7", "≥5"], None):
        predict(model, data, output="p.csv", explain=explain, figure=[0, 299])
        tables.append(Path("p.csv").read_bytes())
        drawings.append(matplotlib.image.imread("p.png"))
    assert tables[0] == tables[1]
    assert [bool((pixels[..., 0] > pixels[..., 2] + 0.3).any()) for pixels in drawings] == [
        True,
        False,
    ]  # yellow to red


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "p.txt"}, r"^output must end in \.csv, \.jsonl or \.parquet, or be -, got p\.txt$"),
        ({"output": "folder.csv"}, r"^folder\.csv is a folder; choose another output$"),
        ({"output": "drawn.csv"}, r"^drawn\.png is a folder; choose another output$"),
        ({"output": "file/p.csv"}, r"^file/p\.csv can't be written: Not a directory; choose another place$"),
        ({"output": "p.csv", "figure": [0, 300]}, r"^figure takes numbers of images from 0 to 299, got 300$"),
        ({"output": "p.csv", "figure": -1}, r"^figure takes numbers of images from 0 to 299, got -1$"),
        ({"output": "p.csv", "figure": [0] * 101}, r"^figure takes at most 100 images, got 101$"),
        ({"output": "p.csv", "explain": "≥55"}, r"^explain takes labels of the model, got '≥55': did you mean '≥5'\?$"),
        (
            {"output": "p.csv", "explain": ["1", "cat"]},
            r"^explain takes labels of the model, got 'cat': it has 0, 1, .*, 9 and 1 more$",
        ),
        ({"output": "p.csv", "explain": "1", "figure": []}, r"^explain draws a figure, which figure false leaves out"),
        ({"output": "p.csv", "explain": list(LABELS)}, r"^explain takes at most 9 labels, got 11$"),
        ({"output": "-", "explain": "1"}, r"^a table on standard output has no figure .*: leave out explain, or name"),
        ({"output": "p.csv", "limit": 0}, r"^there were no images to predict: raise --trainer\.limit_predict_batches$"),
        ({}, r"^predict needs an output, or a checkpoint to write it beside$"),
    ],
    ids=str,
)
def test_a_mistake_is_found_before_anything_is_written(
    options: dict[str, Any], message: str, model: MultiLabelClassifier, data: MNISTDataModule, workplace: Path
) -> None:
    for folder in ("folder.csv", "drawn.png"):
        Path(folder).mkdir()
    Path("file").write_text("earlier")
    before = {path: path.is_dir() for path in workplace.rglob("*")}
    with pytest.raises(InputError, match=message):
        predict(model, data, **options)
    assert {path: path.is_dir() for path in workplace.rglob("*")} == before


@pytest.mark.slow
def test_a_figure_that_fails_leaves_the_earlier_table(
    model: MultiLabelClassifier, data: MNISTDataModule, workplace: Path
) -> None:
    Path("p.csv").write_text("earlier")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (TABLE_SIZE, most))
    try:
        with pytest.raises(OSError, match=r"too large: 'p\.png'"):
            predict(model, data, output="p.csv", figure=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert Path("p.csv").read_text() == "earlier"
    assert [path.name for path in workplace.iterdir()] == ["p.csv"]
