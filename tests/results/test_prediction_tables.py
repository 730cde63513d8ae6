"""The tables that `predict` writes, read back; standard output."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from multilabel_pl import ImageFilesDataModule, MNISTDataModule, MultiLabelClassifier, Task, Trainer
from multilabel_pl.cli.main import main
from multilabel_pl.data.image_files import ImageFiles
from multilabel_pl.errors import InputError
from multilabel_pl.results.prediction_parquet import ParquetFormat
from tests.conftest import QUIET, started

ODD = ("path", "$x^2$", "🐈‍⬛", "a|b", 'said "no"', "two\nlines", "=1+1", "a,b", "long " * 60)
SIZE = 8  # height and width of an image


@pytest.fixture
def model() -> MultiLabelClassifier:
    torch.manual_seed(0)
    return MultiLabelClassifier(task=Task(ODD, (3, SIZE, SIZE)), threshold=0.5).eval()


@pytest.fixture
def scans(workplace: Path) -> list[str]:
    """Thirty files, of which every tenth can't be read."""
    Path("scans").mkdir()
    random = np.random.default_rng(0)
    for number in range(30):
        path = Path(f"scans/{number:02}.png")
        if number % 10 == 0:
            path.write_text("no image")
        else:
            Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
    return [str(path) for path in sorted(Path("scans").iterdir())]


def predict(model: MultiLabelClassifier, data: Any, **options: Any) -> Any:
    trainer = Trainer(logger=False, enable_progress_bar=False)
    return trainer.predict(model, datamodule=data, **options)


def expected(model: MultiLabelClassifier, paths: list[str]) -> tuple[torch.Tensor, list[list[str]]]:
    """Returns the probabilities and tags of files; those that can't be read are black."""
    assert model.task is not None
    images = ImageFiles([Path(path) for path in paths], model.task).__getitems__(list(range(len(paths)))).images
    with torch.inference_mode():
        probabilities, tags = model.tag(images)
    named = [[label for label, tag in zip(ODD, row, strict=True) if tag] for row in tags.tolist()]
    return probabilities, [[] if number % 10 == 0 else names for number, names in enumerate(named)]


def test_odd_labels_are_read_back_from_every_table(model: MultiLabelClassifier, scans: list[str]) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        predict(model, ImageFilesDataModule("scans", num_workers=0, batch_size=7), output=f"p.{suffix}")
    probabilities, tags = expected(model, scans)

    with Path("p.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "tags", "error", *ODD]
    assert [row[0] for row in rows] == scans
    assert [row[1] for row in rows] == list(map("|".join, tags))

    lines = list(map(json.loads, Path("p.jsonl").read_text(encoding="utf-8").splitlines()))
    assert [line["tags"] for line in lines] == tags
    assert tuple(lines[1]["probabilities"]) == ODD

    table = parquet.read_table("p.parquet")
    assert json.loads(table.schema.metadata[b"labels"]) == list(ODD)
    assert table.column_names == ["path", "tags", "error", "probabilities"]
    assert table["path"].to_pylist() == scans
    assert table["tags"].to_pylist() == tags
    assert table["error"].null_count == 27
    for number, values in enumerate(table["probabilities"].to_pylist()):
        unreadable = number % 10 == 0
        assert (values is None, lines[number]["probabilities"] == {}, rows[number][3] == "") == (unreadable,) * 3
        if not unreadable:
            assert values == pytest.approx(probabilities[number].tolist(), abs=1e-6)
            assert list(map(float, rows[number][3:])) == pytest.approx(values, abs=1e-6)
            assert list(lines[number]["probabilities"].values()) == pytest.approx(values, abs=1e-6)


def test_row_groups_do_not_depend_on_how_rows_came(workplace: Path) -> None:
    table = ParquetFormat(["path", "tags", "error"], ["a", "b"])
    table.group = 10
    rows = [{"path": f"{i}.png", "tags": ["a"], "error": None} for i in range(37)]
    probabilities = torch.rand(37, 2)
    for step in (1, 4, 37):
        batches = (table.encode(rows[i : i + step], probabilities[i : i + step]) for i in range(0, 37, step))
        Path("rows").write_bytes(table.header + b"".join(batches))
        table.finish(Path("rows"), Path(f"{step}.parquet"))
    found = parquet.ParquetFile("1.parquet")
    assert [found.metadata.row_group(i).num_rows for i in range(found.num_row_groups)] == [10, 10, 10, 7]
    assert found.read().column("path").to_pylist() == [row["path"] for row in rows]
    assert Path("1.parquet").read_bytes() == Path("4.parquet").read_bytes() == Path("37.parquet").read_bytes()


def test_labelled_images_go_into_parquet_too(small_run: Path, small_set: str, workplace: Path) -> None:
    main(["predict", str(small_run / "best.ckpt"), *QUIET, "--data.data_dir", small_set, "--output", "p.parquet"])
    main(["predict", str(small_run / "best.ckpt"), *QUIET, "--data.data_dir", small_set, "--output", "p.jsonl"])
    table = parquet.read_table("p.parquet").to_pylist()
    lines = list(map(json.loads, Path("p.jsonl").read_text(encoding="utf-8").splitlines()))
    for row, line in zip(table, lines, strict=True):
        assert [row[name] for name in ("index", "true_tags", "predicted_tags")] == list(line.values())[:3]
        assert row["probabilities"] == pytest.approx(list(line["probabilities"].values()), abs=1e-6)


def test_the_first_unreadable_files_are_named_and_all_are_counted(
    model: MultiLabelClassifier, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("scans").mkdir()
    for number in range(50):
        Path(f"scans/{number:02}.png").write_text("no image")
    predict(model, ImageFilesDataModule("scans", num_workers=0), output="p.csv")
    *named, counted = capsys.readouterr().err.splitlines()
    assert named == [f"warning: scans/{number:02}.png is not an image, or is damaged" for number in range(20)]
    assert counted == "warning: unreadable files in all: 50; the table says why"


def test_predictions_are_returned_to_those_who_ask(
    model: MultiLabelClassifier, scans: list[str], workplace: Path
) -> None:
    data = ImageFilesDataModule("scans", num_workers=0, batch_size=16)
    assert predict(model, data, output="p.csv") is None
    batches = predict(model, data, output="p.csv", return_predictions=True)
    found = torch.cat([batch.probabilities for batch in batches])
    assert torch.allclose(found, expected(model, scans)[0], atol=1e-6)  # rounding differs with the size of a batch


def test_a_loader_of_ones_own_is_predicted(model: MultiLabelClassifier, small_set: str, workplace: Path) -> None:
    model = MultiLabelClassifier(task=Task(tuple("abcdefghijk"), (1, 28, 28)))
    data = MNISTDataModule(small_set)
    data.setup("test")
    trainer = Trainer(logger=False, enable_progress_bar=False, limit_predict_batches=1)
    trainer.predict(model, data.test_dataloader(), output="p.csv", figure=False)
    assert len(Path("p.csv").read_text().splitlines()) == 1 + 250
    with pytest.raises(InputError, match=r"^predict takes images of a data module, got list: give datamodule$"):
        trainer.predict(model, torch.utils.data.DataLoader([1, 2]), output="p.csv")  # type: ignore[arg-type] # any sequence
    with pytest.raises(InputError, match=r"^predict takes images of a data module, got list: give datamodule$"):
        trainer.predict(model, [data.test_dataloader(), data.test_dataloader()], output="p.csv")
    with pytest.raises(InputError, match=r"^predict takes a loader that makes batches: give it a batch_size$"):
        trainer.predict(
            model, torch.utils.data.DataLoader(data.test_dataloader().dataset, batch_size=None), output="p.csv"
        )
    assert [path.name for path in workplace.iterdir()] == ["p.csv"]


def test_rows_go_to_standard_output_and_all_else_to_standard_error(
    small_run: Path, scans: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(small_run / "best.ckpt"), "scans", *QUIET]
    with pytest.raises(SystemExit):
        main([*words, "--output", "p.csv"])
    capfd.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([*words, "--output", "-"])
    seen = capfd.readouterr()
    assert caught.value.code == 1
    assert seen.out == Path("p.csv").read_text()
    assert seen.err.splitlines() == [
        f"using {small_run}/best.ckpt",
        *(f"warning: scans/{number}.png is not an image, or is damaged" for number in ("00", "10", "20")),
        "",
        "27 images tagged: written to standard output",
    ]
    assert {path.name for path in Path().iterdir()} == {"scans", "p.csv"}


@pytest.mark.slow
def test_a_reader_of_standard_output_may_leave(small_run: Path, scans: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    words = ["predict", str(small_run / "best.ckpt"), "scans", "--output", "-"]
    process = started(words, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert process.communicate()[1] == f"using {small_run}/best.ckpt\n"
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "-", "--figure", "true"], "a table on standard output has no figure beside it: leave out figure"),
        (["--output", "p.csv"], "p.csv.part is no folder; delete it, or choose another output"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], message: str, small_run: Path, scans: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("p.csv.part").write_text("something else")
    with pytest.raises(SystemExit) as caught:
        main(["predict", str(small_run / "best.ckpt"), "scans", *QUIET, *words])
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith(f"error: {message}")


MEMORY = """
import resource
from multilabel_pl.cli.main import main
try:
    main({words!r})
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_number_of_images(suffix: str, small_run: Path, scans: list[str]) -> None:
    peaks = []
    for count in (2_000, 20_000):
        Path("list.txt").write_text("scans/01.png\n" * count)
        words = ["predict", str(small_run / "best.ckpt"), *QUIET, "--list", "list.txt", "--output", f"p.{suffix}"]
        source = MEMORY.format(words=words)
        ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
        peaks.append(int(ended.stdout.splitlines()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 20, peaks  # MB
