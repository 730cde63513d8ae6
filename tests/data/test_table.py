import csv
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from multilabel_pl import MultiLabelClassifier, TableDataModule, Task
from multilabel_pl.cli.console import one_line_errors
from multilabel_pl.cli.main import main
from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.data.image_files import LabelledFiles
from multilabel_pl.data.mnist import LABELS
from multilabel_pl.errors import InputError
from tests.conftest import BRIEF, QUIET
from tests.data.tagged_images import write_images, write_table, write_tagged

TABLE = ["--data", "TableDataModule", "--data.table", "images.csv"]
TABLE += ["--data.image_size", "16", "--data.num_workers", "0"]


def opened(table: str, stage: str = "fit", **options: Any) -> TableDataModule:
    data = TableDataModule(table, **{"channels": 1, "image_size": 48, "num_workers": 0, **options})
    data.setup(stage)
    return data


def message(table: str, stage: str = "fit", **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(table, stage, **options)
    return str(caught.value)


def sizes(data: TableDataModule) -> list[int]:
    if data.test_set is None:
        data.setup("test")
    return [len(part) if part is not None else 0 for part in (data.train_set, data.val_set, data.test_set)]


def test_images_and_targets_are_those_of_the_files_and_the_table(tmp_path: Path) -> None:
    rows = write_images(tmp_path, 30)
    table = write_table(tmp_path / "t.csv", ["path", "tags"], [[path, "|".join(tags)] for path, tags in rows])
    data = opened(table, val_size=0, test_size=0)
    assert data.labels == list(LABELS)
    assert data.task == Task(LABELS, (1, 48, 48))
    assert data.image_shape == (1, 48, 48)
    assert data.train_set is not None
    images, targets = data.train_set.__getitems__(list(range(30)))
    for (path, tags), image, target in zip(rows, images, targets, strict=True):
        assert torch.equal(image[0], torch.from_numpy(np.array(Image.open(tmp_path / path))))
        assert [label for label, value in zip(data.labels, target, strict=True) if value] == tags


def test_columns_of_zero_and_one_say_the_same(tmp_path: Path) -> None:
    rows = write_images(tmp_path, 30)
    tagged = write_table(tmp_path / "a.csv", ["file", "note", "names"], [[p, "x", " ; ".join(t)] for p, t in rows])
    wide = [[*[int(label in tags) for label in LABELS], path] for path, tags in rows]
    columns = write_table(tmp_path / "b.csv", [*LABELS, "path"], wide)
    first = opened(tagged, path_column="file", tags_column="names", tag_delimiter=";")
    second = opened(columns)
    assert first.labels == second.labels
    assert first.train_set is not None
    assert second.train_set is not None
    assert torch.equal(first.train_set.targets, second.train_set.targets)
    few = opened(columns, labels=["≥5", 0], val_size=0, test_size=0)
    assert few.labels == ["≥5", "0"]
    assert few.train_set is not None
    assert few.train_set.targets.tolist() == [["≥5" in tags, "0" in tags] for _, tags in rows]


@pytest.mark.parametrize("memory", [1.0, 0.0])
def test_images_need_not_fit_in_memory(memory: float, tmp_path: Path) -> None:
    data = opened(write_tagged(tmp_path, 40), max_memory=memory, num_workers=2, batch_size=7)
    assert data.train_set is not None
    assert data.val_set is not None
    held = opened(write_tagged(tmp_path, 40))
    assert held.train_set is not None
    assert isinstance(data.train_set, LabelledImages if memory else LabelledFiles)
    seen = [torch.cat(parts) for parts in zip(*data.train_dataloader(), strict=True)]
    pairs = [
        sorted((bytes(image.numpy()), target.tolist()) for image, target in zip(*both, strict=True))
        for both in (seen, held.train_set.__getitems__(list(range(len(held.train_set)))))
    ]
    assert pairs[0] == pairs[1]


KINDS: dict[str, tuple[Any, int]] = {
    "grey": (Image.new("L", (50, 30), 200), 200),
    "palette": (Image.new("RGB", (5, 90), (0, 255, 0)).convert("P"), 150),
    "transparent": (Image.new("RGBA", (20, 20), (9, 9, 9, 0)), 255),
    "sixteen": (Image.fromarray(np.full((20, 20), 40_000, dtype=np.uint16)), 156),
    "cmyk": (Image.new("CMYK", (20, 20), (0, 0, 0, 0)), 255),
    "bits": (Image.new("1", (20, 20), 1), 255),
}


def test_images_of_any_mode_and_size_are_resized(tmp_path: Path) -> None:
    rows = []
    for name, (image, _) in KINDS.items():
        rows.append([f"{name}.tiff" if name == "cmyk" else f"{name}.png", "x"])
        image.save(tmp_path / rows[-1][0])
    table = write_table(tmp_path / "t.csv", ["path", "tags"], rows)
    data = opened(table, val_size=0, test_size=0, image_size=[8, 12])
    assert data.train_set is not None
    for index, (_, level) in enumerate(KINDS.values()):
        image, _ = data.train_set[index]
        assert image.shape == (1, 8, 12)
        assert torch.unique(image).tolist() == [level]
    colour = opened(table, val_size=0, test_size=0, channels=3, background="#ff0000")
    assert colour.train_set is not None
    image, _ = colour.train_set[list(KINDS).index("transparent")]
    assert image[:, 0, 0].tolist() == [255, 0, 0]


def test_a_column_or_tables_of_their_own_name_the_splits(tmp_path: Path) -> None:
    rows = write_images(tmp_path, 40)
    parts = ["train"] * 19 + ["Train", "Validation"] + ["val"] * 11 + ["test"] * 8
    marked = [[path, "|".join(tags), part] for (path, tags), part in zip(rows, parts, strict=True)]
    assert sizes(opened(write_table(tmp_path / "a.csv", ["path", "tags", "split"], marked))) == [20, 12, 8]
    assert sizes(opened(write_table(tmp_path / "b.csv", ["path", "tags", "fold"], marked), split_column="fold"))[2] == 8
    tables = [
        write_table(
            tmp_path / f"{part}.csv", ["path", "tags"], [row[:2] for row in marked if row[2][:2].lower() == part[:2]]
        )
        for part in ("train", "val", "test")
    ]
    data = opened(tables[0], val_table=tables[1], test_table=tables[2], labels=list(LABELS))
    assert sizes(data) == [20, 12, 8]
    assert data.has_validation
    half = opened(tables[0], val_size=0.5, test_size=0)
    assert half.train_set is not None
    assert half.val_set is not None
    assert (len(half.train_set), len(half.val_set)) == (10, 10)
    without = [row for row in marked if row[2].lower()[:3] != "val"]
    assert sizes(opened(write_table(tmp_path / "c.csv", ["path", "tags", "split"], without), val_size=5)) == [15, 5, 8]


def test_rare_labels_may_need_more_images_than_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[path, f"label {i // 3}"] for i, (path, _) in enumerate(write_images(tmp_path, 90))]
    table = write_table(tmp_path / "t.csv", ["path", "tags"], rows)
    splits = opened(table, test_size=0, val_size=9).splits
    assert [len(splits[split]) for split in ("train", "val")] == [60, 30]  # two and one of three with each label
    start = "note: val_size 9 sets 30 images aside rather than 9,"
    assert any(line.startswith(start) for line in capsys.readouterr().err.splitlines())


def test_the_seed_decides_what_is_set_aside(tmp_path: Path) -> None:
    table = write_tagged(tmp_path, 60)

    def files(**options: Any) -> list[set[Path]]:
        data = opened(table, **options)
        data.setup("test")
        return [set(part.paths or []) for part in (data.train_set, data.val_set, data.test_set) if part is not None]

    train, val, test = files()
    assert 6 <= len(val) <= 9
    assert 6 <= len(test) <= 9
    assert len(train | val | test) == 60
    assert files() == [train, val, test]
    assert files(split_seed=1)[2] != test
    assert files(val_size=0.3)[-1] == test  # what is for the test has nothing to do with validation


def test_every_mistake_in_a_table_is_named_with_its_line(tmp_path: Path) -> None:
    rows = write_images(tmp_path, 5)
    Path(tmp_path / "broken.png").write_bytes(Path(tmp_path / rows[0][0]).read_bytes()[:100])
    Path(tmp_path / "text.png").write_text("no image")
    lines = [
        "path,tags,split",
        f"{rows[0][0]},1,train",
        "missing.png,1,train",
        "text.png,1,val",
        "broken.png,1,train",
        f"{rows[1][0]},1|cat,train",
        f"./images/../{rows[0][0]},1,train",
        "../outside.png,1,train",
        f"{rows[2][0]},1",
        f"{'a' * 300}.png,1,train",
        "a\0.png,1,test",
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    found = message(str(tmp_path / "t.csv"), labels=["1"]).splitlines()
    expected = {
        3: f"{tmp_path}/missing.png can't be read: No such file or directory",
        4: f"{tmp_path}/text.png is not an image, or is damaged",
        5: f"{tmp_path}/broken.png ",
        6: "cat is none of the labels: correct it, or name it in --data.labels when you train",
        7: f"{tmp_path}/{rows[0][0]} is listed already, in {tmp_path}/t.csv, line 2",
        8: f"../outside.png is outside of {tmp_path}: ",
        9: "must have 3 cells, as the header has, got 2",
        10: "can't be read: File name too long",
        11: "can't be read: embedded null byte",
    }
    assert len(found) == len(expected)
    for line, (number, text) in zip(found, expected.items(), strict=True):
        assert line.startswith(f"{tmp_path}/t.csv, line {number}: ")
        assert text in line


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("path,tags\n", {"images": "no"}, "there is no folder {}/no: name that of the images with --data.images"),
        ("path,tags\na.png,cat\n", {"val_size": 1}, "val_size 1 leaves nothing to train on: it takes 1 of 1 images"),
        ("path,tags\na.png,cat\n", {"test_size": 0.9}, "test_size 0.9 leaves nothing to train on: it takes 1 of 1"),
        ("path,tags,split\na.png,cat,test\n", {}, "t.csv has no image for training"),
    ],
    ids=str,
)
def test_a_table_that_leaves_nothing_to_train_on_is_refused(
    text: str, options: dict[str, Any], expected: str, workplace: Path
) -> None:
    Path("t.csv").write_text(text)
    assert message("t.csv", **{"val_size": 0, "test_size": 0, **options}).startswith(expected.format(workplace))


def test_a_table_must_be_named(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--data", "TableDataModule"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: --data.table is required\n"


def test_test_images_are_checked_before_training(tmp_path: Path) -> None:
    rows = [[path, "x", "test" if i == 3 else "train"] for i, (path, _) in enumerate(write_images(tmp_path, 9))]
    table = write_table(tmp_path / "t.csv", ["path", "tags", "split"], rows)
    (tmp_path / rows[3][0]).write_text("no image")
    assert "t.csv, line 5: " in message(table)


def test_few_images_are_all_for_training(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tagged(workplace, 4)
    main(["fit", *QUIET, *BRIEF, *TABLE])
    assert "images: 4 (4 train)" in capsys.readouterr().out
    assert {path.name for path in Path("runs/version_0").glob("*.ckpt")} == {"last.ckpt"}
    with pytest.raises(SystemExit):
        main(["test", *QUIET])
    assert "images.csv has no test image: raise --data.test_size, mark some" in capsys.readouterr().err


def test_an_image_may_not_be_in_two_tables(tmp_path: Path) -> None:
    train = write_tagged(tmp_path, 10)
    test = write_table(tmp_path / "test.csv", ["path", "tags"], [["images/003.png", ""]])
    image = tmp_path / "images" / "003.png"
    assert message(train, test_table=test) == f"{test}, line 2: {image} is listed already, in {train}, line 5"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"image_size": 0}, "image_size must be a number, or a height and a width, in pixels, got 0"),
        ({"image_size": [1, 2, 3]}, "image_size must be"),
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"background": "nothing"}, "background must be a colour such as white or #ffffff, got nothing"),
        ({"val_size": 30}, "val_size 30 leaves nothing to train on: it takes 30 of"),
        ({"val_size": float("nan")}, "val_size must be at least 0, got nan"),
        ({"test_size": -1}, "test_size must be at least 0, got -1"),
        ({"min_crop": 0}, "min_crop must be in"),
        ({"color_jitter": 2}, "color_jitter must be in"),
        ({"tag_delimiter": ""}, "tag_delimiter must not be empty"),
        ({"max_memory": -1}, "max_memory must be at least 0"),
        ({"num_workers": -1}, "num_workers must be at least 0"),
        ({"labels": []}, "labels must name at least one label"),
        ({"labels": ["0"]}, "is none of the labels: correct it, or name it in --data.labels when you train"),
    ],
    ids=str,
)
def test_bad_options_are_refused(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert expected in message(write_tagged(tmp_path, 30), **options)


def test_there_may_be_no_test_or_no_training(tmp_path: Path) -> None:
    rows = [[path, "|".join(tags), "test"] for path, tags in write_images(tmp_path, 5)]
    table = write_table(tmp_path / "t.csv", ["path", "tags", "split"], rows)
    assert "has no image for training" in message(table)
    assert len(opened(table, "test").test_set or []) == 5
    rows = [[*row[:2], "train"] for row in rows]
    write_table(tmp_path / "t.csv", ["path", "tags", "split"], rows)
    assert "has no test image: raise --data.test_size, mark some" in message(table, "test")


def test_images_are_augmented_in_training_alone(workplace: Path) -> None:
    write_tagged(workplace, 40)
    options = ["--data.flip", "true", "--data.min_crop", "0.5", "--data.color_jitter", "0.3"]
    losses = []
    for version, own in enumerate([[], options, options]):
        main(["fit", *QUIET, *BRIEF, *TABLE, *own])
        with Path(f"runs/version_{version}/metrics.csv").open(encoding="utf-8") as file:
            losses.append([float(row["train_loss"]) for row in csv.DictReader(file) if row["train_loss"]])
    assert len(losses[0]) == 1  # of an epoch that is one batch
    assert losses[0] != losses[1]
    assert losses[1] == losses[2]  # by the seed
    model = MultiLabelClassifier.load_from_checkpoint("runs/version_2/best.ckpt")
    data = opened("images.csv", channels=3, image_size=16)
    assert data.val_set is not None
    main(["validate", *QUIET, "--figures", "false"])
    metrics = json.loads(Path("runs/version_2/validate/metrics.json").read_text(encoding="utf-8"))
    images, targets = data.val_set.__getitems__(list(range(len(data.val_set))))
    with torch.inference_mode():
        loss = F.binary_cross_entropy_with_logits(model(images), targets)
    assert metrics["val_loss"] == pytest.approx(loss.item(), rel=1e-4)


def test_a_table_is_trained_on_tested_and_predicted(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tagged(workplace, 60)
    main(["fit", *QUIET, *BRIEF, *TABLE, "--data.background", "black", "--data.val_size", "20"])
    said = capsys.readouterr().out
    assert len(re.findall(r"^images: 60 \(\d+ train, \d+ val, \d+ test\)$", said, flags=re.MULTILINE)) == 1
    assert "most frequent pairs: " in said
    for command in ("validate", "test", "predict"):
        main([command, *QUIET, *([] if command == "predict" else ["--figures", "false"])])
    run = Path("runs/version_0")
    assert (run / "predict" / "predictions.png").is_file()
    title = f"# test of {run}/best.ckpt on {workplace}/images.csv\n"
    assert (run / "test" / "report.md").read_text(encoding="utf-8").startswith(title)
    with (run / "predict" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        predicted = list(csv.DictReader(file))
    assert 6 <= len(predicted) <= 9
    model = MultiLabelClassifier.load_from_checkpoint(run / "best.ckpt")
    assert model.task == Task(LABELS, (3, 16, 16), "resize", "black")
    predictions = model.predict_images([row["path"] for row in predicted])
    for row, prediction in zip(predicted, predictions, strict=True):
        assert Path(row["path"]).parts[-2:] in {("images", f"{i:03}.png") for i in range(60)}
        assert row["predicted_tags"].split("|") == prediction.tags
        assert [float(row[label]) for label in LABELS] == pytest.approx(
            list(prediction.probabilities.values()), abs=1e-5
        )
    Image.new("RGBA", (9, 9), (255, 255, 255, 0)).save("clear.png")
    Image.new("RGB", (9, 9), "black").save("black.png")
    clear, black = model.predict_images(["clear.png", "black.png"])
    assert clear == black


def known_and_tagged(row: Mapping[str, str]) -> tuple[set[str], set[str], set[str]]:
    """Returns the true, the unknown and the predicted tags of a row of results."""
    names = set(filter(None, row["true_tags"].split("|")))
    unknown = {name for name in names if name.startswith("?")}
    return names - unknown, {name[1:] for name in unknown}, set(filter(None, row["predicted_tags"].split("|")))


def test_a_table_of_which_some_is_unknown_is_trained_on_tested_and_predicted(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = write_images(workplace, 90)
    parts = ["train", "val", "test"] * 30
    unknown = torch.rand(90, 11, generator=generator) < 0.4
    unknown[0::3, 4] = False
    unknown[1::3, 4] = unknown[2::3, 5] = True  # 4 is unknown of all validation images, 5 of all test images
    unknown[2] = True
    cells = [
        ["?" if hidden else str(int(label in tags)) for label, hidden in zip(LABELS, row, strict=True)]
        for (_, tags), row in zip(rows, unknown.tolist(), strict=True)
    ]
    marks = {"0": "", "1": "{}", "?": "?{}"}
    texts = ["|".join(filter(None, (marks[c].format(n) for n, c in zip(LABELS, row, strict=True)))) for row in cells]
    named = [[path, part] for (path, _), part in zip(rows, parts, strict=True)]
    in_columns = [[*one, *row] for one, row in zip(named, cells, strict=True)]
    write_table(workplace / "wide.csv", ["path", "split", *LABELS], in_columns)
    in_one = [[*one, text] for one, text in zip(named, texts, strict=True)]
    write_table(workplace / "images.csv", ["path", "split", "tags"], in_one)
    wide, tagged = (opened(name).train_set for name in ("wide.csv", "images.csv"))
    assert wide is not None
    assert tagged is not None
    assert torch.equal(wide.targets.nan_to_num(-1), tagged.targets.nan_to_num(-1))
    main(["fit", *QUIET, *BRIEF, *TABLE, "--model.calibrate", "true", "--model.threshold", "f1_exact"])
    said = capsys.readouterr()
    assert f"\nknown: {990 - unknown.sum():,} of 990 decisions; unknown: " in said.out
    assert "no threshold learned by f1_exact for " in said.err
    main(["test", *QUIET, "--figures", "false"])
    main(["predict", *QUIET])
    folder = Path("runs/version_0")
    report = (folder / "test" / "report.md").read_text(encoding="utf-8")
    of_tests = unknown[2::3]
    assert f"\n{330 - of_tests.sum()} of 330 decisions are known; the others take no part.\n" in report
    [five] = [line for line in report.splitlines() if line.startswith("| 5 ")]
    assert [cell.strip() for cell in five.strip("|").split("|")][1:3] == ["0", "0"]
    assert re.fullmatch(r"[| –]*", five.split("|", 5)[5])  # no metric
    assert (folder / "predict" / "predictions.png").is_file()
    metrics = json.loads((folder / "test" / "metrics.json").read_text(encoding="utf-8"))
    assert [name for name, value in metrics.items() if value is None and not name.endswith(("_low", "_high"))] == []

    with (folder / "predict" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        predicted = [known_and_tagged(row) for row in csv.DictReader(file)]
    for (true, hidden, _), (_, tags), row in zip(predicted, rows[2::3], of_tests.tolist(), strict=True):
        assert hidden == {label for label, is_hidden in zip(LABELS, row, strict=True) if is_hidden}
        assert true == set(tags) - hidden
    right = [true == tags - hidden for true, hidden, tags in predicted if len(hidden) < 11]
    assert len(right) == 29 - int(of_tests[1:].all(dim=1).sum())
    assert metrics["test_exact_match"] == pytest.approx(sum(right) / len(right))
    with (folder / "test" / "mistakes.csv").open(encoding="utf-8", newline="") as file:
        mistakes = [known_and_tagged(row) for row in csv.DictReader(file)]
    assert len(mistakes) == len(right) - sum(right)
    assert all(true != tags - hidden for true, hidden, tags in mistakes)

    model = MultiLabelClassifier.load_from_checkpoint(folder / "best.ckpt")
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    learned = model.decision.slopes, model.decision.offsets, model.decision.thresholds
    assert [values[4].item() for values in learned] == [1, 0, 0.5]


def test_mistakes_are_reported_before_anything_is_made(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tagged(workplace, 20)
    Path("images/004.png").unlink()
    Path("images/007.png").write_text("no image")
    with pytest.raises(SystemExit) as caught:
        main(["fit", *QUIET, *TABLE, "--data.test_size", "0"])
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [["error", f"images.csv, line {line}"] for line in (6, 9)]
    assert not Path("runs").exists()


@pytest.mark.slow
def test_images_that_trained_or_validated_a_checkpoint_are_counted(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_tagged(workplace, 60)

    def warned(command: str, *words: str) -> tuple[int, int, str, str] | None:
        """Returns what the command warns of: how many images, of how many, of which splits, and their earlier use."""
        capsys.readouterr()
        main([command, *QUIET, "--figure" if command == "predict" else "--figures", "false", *words])
        pattern = r"^warning: (\d+) of (\d+) (.*) images were used to (.*) this checkpoint: the data or the split has"
        found = re.search(pattern, capsys.readouterr().err, re.MULTILINE)
        return (int(found[1]), int(found[2]), found[3], found[4]) if found else None

    main(["fit", *QUIET, *BRIEF, *TABLE])
    assert [warned(command) for command in ("test", "validate", "predict")] == [None] * 3
    other = opened(table, "test", split_seed=1)
    of_fit = opened(table)
    used = {name: set(of_fit.splits[name].files) for name in ("train", "val")}
    tests, vals = (set(other.splits[name].files) for name in ("test", "val"))
    seen = len(tests & (used["train"] | used["val"]))
    assert seen > 0
    for command in ("test", "predict"):
        assert warned(command, "--data.split_seed", "1") == (seen, len(tests), "test", "train or validate")
    evaluated = (len((tests | vals) & used["train"]), len(tests | vals), "val and test", "train")
    assert warned("validate", "--data.split_seed", "1") == evaluated
    lines = Path(table).read_text(encoding="utf-8").splitlines()
    Path(table).write_text("\n".join(lines[:50]), encoding="utf-8")
    assert warned("test") is not None
    Path("elsewhere").mkdir()
    for path in (table, "images"):
        Path(path).rename(Path("elsewhere") / Path(path).name)
    moved = "elsewhere/images.csv"
    assert warned("test", "--data.table", moved) is not None
    new = write_tagged(Path("elsewhere"), 20, start=60, name="new.csv")
    assert warned("test", "--data.table", moved, "--data.test_table", new) is None


def divided(capsys: pytest.CaptureFixture[str], command: str, *words: str) -> tuple[str, bool]:
    """Returns what a command says of how it divides the images, and whether it warns that some are not new."""
    capsys.readouterr()
    main([command, *QUIET, *words])
    said = capsys.readouterr()
    [found] = re.findall(r"^images: (.*)$", said.out, re.MULTILINE)
    return str(found), "images were used to" in said.err


def test_a_table_of_new_images_is_evaluated_as_a_whole(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tagged(workplace, 60)
    write_tagged(workplace, 30, start=60, name="new.csv")
    main(["fit", *QUIET, *BRIEF, *TABLE])
    new, quick = ["--data.table", "new.csv"], ["--figures", "false"]
    assert divided(capsys, "test", *new, *quick) == ("30 (30 test)", False)
    assert divided(capsys, "predict", *new, "--figure", "false") == ("30 (30 test)", False)
    assert divided(capsys, "validate", *new, *quick) == ("30 (30 val)", False)
    sizes = ["--data.test_size", "5", "--data.val_size", "0"]
    assert divided(capsys, "test", *new, *quick, *sizes) == ("30 (25 train, 5 test)", False)

    tune = ["--threshold", "recall>=0.8@0.5", "--output", "strict.ckpt"]
    assert divided(capsys, "tune", *new, *quick, *tune) == ("30 (30 val)", False)
    report = Path("tune/report.md").read_text(encoding="utf-8")
    assert "each label has a recall of at least 0.8 with a confidence of 0.5;" in report
    whole = opened("new.csv", "validate", default_split="val").val_set
    assert whole is not None
    learned = MultiLabelClassifier.load_from_checkpoint("strict.ckpt").decision
    assert torch.equal(learned.positives, whole.targets.sum(dim=0).long())
    found, warned = divided(capsys, "test", *new, *quick, "--ckpt_path", "strict.ckpt")
    assert warned  # they are not new to this one
    assert "train" in found


def test_a_table_of_new_images_is_not_divided_as_that_of_the_training(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tagged(workplace, 60)
    write_tagged(workplace, 15, start=60, name="new.csv")  # fewer than validated the checkpoint
    main(["fit", *QUIET, *BRIEF, *TABLE, "--data.folds", "3", "--data.val_size", "20"])
    words = ["--data.table", "new.csv", "--figures", "false"]
    assert divided(capsys, "test", *words) == ("15 (15 test)", False)
    assert divided(capsys, "tune", *words, "--threshold", "0.3", "--output", "t.ckpt") == ("15 (15 val)", False)


def test_images_are_known_by_name_and_content(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tagged(workplace, 60)
    main(["fit", *QUIET, *BRIEF, *TABLE])
    quick = ["--figures", "false"]
    same_names = write_tagged(Path("other"), 30)
    for path in Path("other/images").iterdir():
        Image.effect_noise((48, 48), 99).save(path)
    assert divided(capsys, "test", "--data.table", same_names, *quick) == ("30 (30 test)", False)
    shutil.copytree("images", "again/deep/images")
    table = Path("images.csv").read_text(encoding="utf-8").replace("images/", "deep/images/")
    Path("again/table.csv").write_text(table, encoding="utf-8")
    found, _ = divided(capsys, "test", "--data.table", "again/table.csv", *quick)
    assert "train" in found  # divided as in training


def test_options_of_the_default_data_do_not_leak_into_the_tables(workplace: Path) -> None:
    """MNIST's default of val_size, 5000, once became that of the table."""
    write_tagged(workplace, 30)
    main(["fit", *QUIET, *BRIEF, *TABLE])
    assert "val_size: 0.1\n" in Path("runs/version_0/config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["a\0.png", "\ud800.png"], ids=ascii)
def test_paths_that_no_file_can_have_are_reported_in_new_tables(path: str, workplace: Path) -> None:
    Path("new.jsonl").write_text(json.dumps({"path": path, "tags": ["x"]}))
    data = TableDataModule("new.jsonl", num_workers=0)
    data.take_new_images("test", {})
    with pytest.raises(InputError, match=r"^new\.jsonl, line 1: .* can't be read: "):
        data.setup("test")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_are_refused_at_once(kind: str, workplace: Path) -> None:
    path = "/dev/zero" if kind == "device" else str(workplace / "pipe.png")
    if kind == "pipe":
        os.mkfifo(path)
    Path("empty.png").touch()  # of the same size
    write_table(Path("t.csv"), ["path", "tags"], [[path, "x"], ["empty.png", ""]])
    data = TableDataModule("t.csv", allow_outside=True, num_workers=0)
    data.take_new_images("test", {})
    with pytest.raises(InputError) as caught:
        data.setup("test")
    files = [path, str(workplace / "empty.png")]
    expected = [f"t.csv, line {line}: {file} is not an image, or is damaged" for line, file in enumerate(files, 2)]
    assert str(caught.value).splitlines() == expected


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])  # torch waits long for this one's end
def test_a_file_that_vanishes_during_training_is_one_line(
    workers: int, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tagged(workplace, 30)
    data = opened("images.csv", max_memory=0, num_workers=workers, val_size=0, test_size=0)
    Path("images/007.png").unlink()
    with pytest.raises(SystemExit) as caught, one_line_errors():
        list(data.train_dataloader())
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    reason = "No such file or directory, though it could be when the table was opened"
    assert line == f"error: {workplace}/images/007.png can't be read: {reason}"


def test_tables_may_lie_beside_the_current_folder(workplace: Path) -> None:
    write_tagged(workplace / "a", 20)
    (workplace / "b").mkdir()
    with chdir("b"):
        assert sum(sizes(opened("../a/images.csv"))) == 20
        write_table(Path("t.csv"), ["path", "tags"], [["images/001.png", "x"]])
        assert len(opened("t.csv", images="../a", val_size=0, test_size=0).train_set or []) == 1


def test_a_share_is_of_the_images_that_may_be_set_aside(tmp_path: Path) -> None:
    train = write_tagged(tmp_path, 30)
    test = write_tagged(tmp_path, 60, start=30, name="test.csv")
    counts = sizes(opened(train, test_table=test, labels=list(LABELS), val_size=0.2))
    assert counts[2] == 60
    assert 6 <= counts[1] <= 10


def test_training_on_a_table_is_resumed(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tagged(workplace, 40)
    schedule = ["--model.network", "conv_stack", "--model.lr_schedule", "one_cycle"]
    main(["fit", *QUIET, *schedule, *TABLE, "--trainer.max_epochs", "2"])
    capsys.readouterr()
    main(["fit", *QUIET, "--ckpt_path", "last", "--trainer.max_epochs", "3"])
    assert "were used to train" not in capsys.readouterr().err
    with Path("runs/version_0/metrics.csv").open(encoding="utf-8") as file:
        assert {row["epoch"] for row in csv.DictReader(file)} == {"0", "1", "2"}
    main(["fit", *QUIET, "--ckpt_path", "last", "--trainer.max_epochs", "4", "--data.split_seed", "1"])
    assert "val and test images were used to train this checkpoint" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["fit", *QUIET, "--ckpt_path", "last", "--trainer.max_epochs", "-1"])
    assert caught.value.code == 2
    assert "one_cycle needs a last step: set --trainer.max_epochs or --trainer.max_steps" in capsys.readouterr().err


def test_one_label_is_enough(workplace: Path) -> None:
    rows = [[path, "large" if "≥5" in tags else ""] for path, tags in write_images(workplace, 60)]
    write_table(Path("images.csv"), ["path", "tags"], rows)
    main(["fit", *QUIET, *BRIEF, *TABLE, "--model.calibrate", "true"])
    main(["test", *QUIET])  # with its figures, of which the confusion matrix is the smallest
    main(["predict", *QUIET])
    metrics = json.loads(Path("runs/version_0/test/metrics.json").read_text(encoding="utf-8"))
    assert metrics["test_label_accuracy"] == metrics["test_exact_match"]
    assert 0 <= metrics["test_auroc"] <= 1
    assert metrics["test_ranking_loss"] == 0


@pytest.mark.parametrize("command", ["fit", "test"])
def test_the_options_of_tables_are_explained_without_a_run(
    command: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--data.help", "TableDataModule"])
    assert caught.value.code == 0
    assert "--data.tag_delimiter" in capsys.readouterr().out


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(workplace: Path) -> None:
    write_tagged(workplace, 40)
    words = "--data.max_memory 0 --data.batch_size 8 --data.max_rotation 10 --data.flip true --data.min_crop 0.5"
    tables = []
    for version, workers in enumerate(["0", "2"]):
        own = ["--data.num_workers", workers]
        main(["fit", *QUIET, *BRIEF, *TABLE, "--trainer.max_epochs", "2", *words.split(), *own])
        main(["predict", *QUIET, "--output", f"{version}.csv", "--figure", "false", *own])
        with Path(f"{version}.csv").open(encoding="utf-8", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    first, second = (torch.load(f"runs/version_{i}/last.ckpt", weights_only=True)["state_dict"] for i in range(2))
    assert first.keys() == second.keys()
    for name, weights in first.items():
        torch.testing.assert_close(second[name], weights)
    for one, other in zip(*tables, strict=True):
        assert [one[name] for name in ("path", "true_tags", "predicted_tags")] == [
            other[name] for name in ("path", "true_tags", "predicted_tags")
        ]
        assert [float(one[label]) for label in LABELS] == pytest.approx(
            [float(other[label]) for label in LABELS], abs=1e-5
        )


@pytest.mark.slow
def test_many_labels_of_a_checkpoint_keep_their_order(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They pass the parser by."""
    tagged = write_images(workplace, 40)
    labels = [*(f"rare {number}" for number in range(150)), *reversed(LABELS)]
    write_table(Path("images.csv"), ["path", "tags"], [[path, "|".join(tags)] for path, tags in tagged])
    main(["fit", *QUIET, *TABLE, "--data.labels", json.dumps(labels), "--trainer.max_epochs", "1"])
    main(["test", *QUIET, "--figures", "false"])
    capsys.readouterr()
    main(["fit", "last", *QUIET, "--trainer.max_epochs", "2"])
    assert "different data options" not in capsys.readouterr().err
    for name in ("best", "last"):
        content = torch.load(f"runs/version_0/{name}.ckpt", weights_only=True)
        assert (
            content["datamodule_hyper_parameters"]["labels"] == content["hyper_parameters"]["task"]["labels"] == labels
        )
    main(["test", *QUIET, "--figures", "false", "--data.labels", json.dumps(labels)])
    with pytest.raises(SystemExit):
        main(["test", *QUIET, "--data.labels", json.dumps(labels[::-1])])
    assert "the model's labels are" in capsys.readouterr().err
