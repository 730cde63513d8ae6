"""Images in shards: written from a table, and read as the table's own."""

import csv
import json
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multilabel_pl import StreamingDataModule, TableDataModule
from multilabel_pl.cli.main import main
from multilabel_pl.data import shard_writer
from multilabel_pl.data.datasets import Batch
from multilabel_pl.data.shard_writer import write_shards
from multilabel_pl.errors import InputError
from tests.conftest import QUIET, MakeOnce, in_a_process
from tests.data.tagged_images import write_images, write_table
from tests.training.test_processes import DDP
from tests.training.test_resume import UNHARMED, assert_same_end, strikes

litdata = pytest.importorskip("litdata")

SIZE = ["--data.image_size", "24"]
SMALL = ["--data.batch_size", "4", "--model.network", "conv_stack", "--trainer.log_every_n_steps", "1"]
FIT = ["fit", *QUIET, "--trainer.max_epochs", "2", *SMALL, "--data.max_shift", "2", "--data.path"]
IMAGES = {"train": 42, "val": 6, "test": 7}
IN_A_SHARD = 8


def write_scenes(folder: Path) -> str:
    """Writes images and a table of them, in which some labels are unknown."""
    rows = write_images(folder, 55)
    cells = [
        (path, "|".join([*tags, "?3"] if i % 5 == 0 and "3" not in tags else tags))
        for i, (path, tags) in enumerate(rows)
    ]
    return write_table(folder / "images.csv", ["path", "tags"], cells)


@pytest.fixture(scope="module")
def place(make_once: MakeOnce) -> Path:
    """A folder with a table, its shards of a few images each, and the run of a fit to these; not to be written into."""

    def write_and_fit() -> None:
        table = write_scenes(Path.cwd())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shard_writer, "SHARD_BYTES", IN_A_SHARD * (3 * 24 * 24 + 30))
            main(["optimize", table, "--output", "shards", *SIZE])
        main([*FIT, "shards"])

    return make_once("shards", write_and_fit)


@pytest.fixture
def copy(place: Path, workplace: Path) -> Path:
    """A copy of the shards, to be damaged."""
    return shutil.copytree(place / "shards", workplace / "shards")


def opened(folder: Path, **options: Any) -> StreamingDataModule:
    data = StreamingDataModule(str(folder), **options)
    data.setup("fit")
    data.setup("test")
    return data


def rows(batch: Batch) -> list[bytes]:
    """Returns the pixels and the targets of each image."""
    return [image.numpy().tobytes() + targets.numpy().tobytes() for image, targets in zip(*batch, strict=True)]


def test_the_shards_hold_what_the_table_does(place: Path) -> None:
    table = TableDataModule(str(place / "images.csv"), image_size=24)
    table.setup("fit")
    table.setup("test")
    data = opened(place / "shards")
    assert data.task == table.task
    sets = {"train": data.train_set, "val": data.val_set, "test": data.test_set}
    assert {split: len(images or ()) for split, images in sets.items()} == IMAGES
    for name in ("train_set", "val_set", "test_set"):
        images, own = getattr(table, name), getattr(data, name)
        batch, own_batch = (part.__getitems__(list(range(len(part)))) for part in (images, own))
        assert sorted(rows(batch)) == sorted(rows(own_batch))
        assert (rows(batch) == rows(own_batch)) == (name != "train_set")  # which is in another order
        assert name == "train_set" or own.paths == images.paths
        assert own_batch[1].isnan().any()
        assert torch.equal(own.targets.nan_to_num(-1), own_batch[1].nan_to_num(-1))
    assert data.train_set is not None
    assert list(data.train_set.shards) == [IN_A_SHARD] * 5 + [2]


def test_names_of_files_need_not_be_in_utf_8(workplace: Path) -> None:
    records = []
    for path, tags in write_images(workplace, 20):
        renamed = Path(path).rename(os.fsdecode(b"lat\xe9in ") + Path(path).name)
        records.append(json.dumps({"path": str(renamed), "tags": tags}))
    Path("t.jsonl").write_text("\n".join(records))
    table = TableDataModule("t.jsonl", image_size=24, num_workers=0)
    write_shards(table, Path("shards"))
    data = opened(Path("shards"))
    assert torch.equal(data.image_fingerprints("test"), table.image_fingerprints("test"))
    assert data.test_set is not None
    assert table.test_set is not None
    assert data.test_set.paths == table.test_set.paths


def test_workers_read_the_same(place: Path) -> None:
    batches = []
    for workers in (0, 2):
        data = opened(place / "shards", num_workers=workers, batch_size=16)
        data.seed = 5
        batches.append(list(data.train_dataloader()))
    assert sum(len(images) for images, _ in batches[0]) == IMAGES["train"]
    for (images, _), (own, _) in zip(*batches, strict=True):
        assert torch.equal(images, own)


def report(place: Path) -> list[str]:
    """Returns the report of a test, without its title, and its list of mistakes."""
    folder = place / "runs" / "version_0" / "test"
    return (folder / "report.md").read_text().splitlines()[1:] + (folder / "mistakes.csv").read_text().splitlines()


def test_a_checkpoint_tests_the_same_on_shards_and_on_their_table(
    place: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "runs", "runs")
    words = [*QUIET, "--figures", "false"]
    main(["test", *words])
    found = report(workplace)
    assert (
        f"test of runs/version_0/best.ckpt on {place / 'shards'}" in Path("runs/version_0/test/report.md").read_text()
    )
    with chdir(place):  # where it finds the images by the same names
        main(["test", str(workplace / "runs/version_0/best.ckpt"), "images.csv", *words, *SIZE])
    assert report(workplace) == [line.removeprefix(f"{place}/") for line in found]
    assert "warning" not in capsys.readouterr().err
    main(["test", str(place / "images.csv"), *words, *SIZE, "--data.split_seed", "3"])
    assert "test images were used to train or validate this checkpoint" in capsys.readouterr().err


def test_shards_are_validated_tuned_and_predicted(
    place: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "runs", "runs")
    main(["validate", *QUIET, "--figures", "false"])
    main(["tune", *QUIET, "--figures", "false", "--threshold", "0.3", "--output", "tuned.ckpt"])
    main(["predict", "tuned.ckpt", *QUIET, "--output", "p.csv", "--figure", "false"])
    with Path("p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == IMAGES["test"]
    assert all(Path(row["path"]).name.endswith(".png") for row in rows)
    main(["predict", "tuned.ckpt", *QUIET, str(place / "images" / "001.png"), "--output", "q.csv"])
    assert "note" not in capsys.readouterr().err


def test_a_stopped_run_is_resumed_exactly(place: Path, workplace: Path) -> None:
    """42 images in batches of 4 make 11 steps an epoch: it is stopped in the second one."""
    with pytest.raises(SystemExit) as caught:
        main([*FIT, str(place / "shards"), *strikes("SIGTERM", "on_before_optimizer_step", 14)])
    assert caught.value.code == 143
    assert torch.load("runs/version_0/last.ckpt", weights_only=True)["global_step"] == 15
    main(["fit", "last", *UNHARMED])
    assert_same_end(Path("runs/version_0"), place / "runs" / "version_0")


def test_a_run_is_resumed_with_a_note_if_the_shards_have_changed(
    place: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shards(TableDataModule(str(place / "images.csv"), image_size=24, split_seed=1), Path("shards"))
    last = str(place / "runs" / "version_0" / "last.ckpt")
    main(["fit", "--ckpt_path", last, "--data.path", "shards", *QUIET, "--trainer.max_epochs", "3"])
    errors = capsys.readouterr().err
    assert "note: resuming with other train images: " in errors
    assert "val and test images were used to train this checkpoint" in errors


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["2", "3"])
def test_processes_count_every_image_once_and_leave_no_trace(
    processes: str, place: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """7 images can't be shared evenly, nor in batches of 2."""
    before = sorted((path, path.stat().st_mtime_ns) for path in (place / "shards").rglob("*"))
    shutil.copytree(place / "runs", "runs")
    Path("home").mkdir()
    monkeypatch.setenv("HOME", str(workplace / "home"))
    ddp = [*DDP, processes, *DDP[-1:], processes]
    metrics = []
    for more in ([], ddp):
        ended = in_a_process(["test", *QUIET, "--figures", "false", "--data.eval_batch_size", "2", *more])
        assert (ended.returncode, ended.stderr) == (0, "")
        metrics.append(json.loads(Path("runs/version_0/test/metrics.json").read_text()))
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-6, nan_ok=True)
    ended = in_a_process([*FIT, str(place / "shards"), *ddp])
    assert ended.returncode == 0, ended.stderr
    with Path("runs/version_1/metrics.csv").open(newline="") as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file) if row["val_loss"]]
    main(["validate", "runs/version_1/last.ckpt", *QUIET, "--figures", "false"])
    alone = json.loads(Path("runs/version_1/validate/metrics.json").read_text())
    assert losses[-1] == pytest.approx(alone["val_loss"], abs=1e-5)
    assert sorted((path, path.stat().st_mtime_ns) for path in (place / "shards").rglob("*")) == before
    assert not [path for path in Path("home").rglob("*") if "matplotlib" not in str(path) and path.is_file()]


@pytest.mark.slow
def test_a_run_of_two_processes_is_resumed_exactly(place: Path, workplace: Path) -> None:
    words = [*FIT, str(place / "shards"), *DDP, "2", "--last_checkpoint.every_n_train_steps", "2"]
    Path("whole").mkdir()
    with chdir("whole"):
        assert in_a_process(words).returncode == 0
    assert in_a_process([*words, *strikes("SIGKILL", "on_train_batch_end", 8)]).returncode == -signal.SIGKILL
    assert 5 < torch.load("runs/version_0/last.ckpt", weights_only=True)["global_step"] < 10  # in the second epoch
    ended = in_a_process(["fit", "last", *UNHARMED])
    assert ended.returncode == 0, ended.stderr
    assert_same_end(Path("runs/version_0"), Path("whole/runs/version_0"))


def edited(path: Path, edit: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def config(name: str, value: Any) -> Callable[[Any], None]:
    return lambda index: index["config"].update({name: value})


def chunk(name: str, value: Any) -> Callable[[Any], None]:
    return lambda index: index["chunks"][0].update({name: value})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (config("data_format", ["pickle", "no_header_tensor:12"]), "config.data_format[0] must be"),
        (config("data_format", ["no_header_tensor:11"]), "config.data_format must be a list of 2"),
        (config("data_spec", "[1, {}]"), "config.data_spec must be"),
        (config("compression", "zstd"), "config.compression must be None"),
        (config("encryption", {"algorithm": "fernet"}), "config.encryption must be None"),
        (config("item_loader", "ParquetLoader"), "config.item_loader must be 'PyTreeLoader'"),
        (config("format", "mds"), "config.format must be left out"),
        (chunk("filename", "../../x.bin"), "chunks[0].filename must be a name such as chunk-0-0.bin"),
        (chunk("chunk_size", 2**40), "its chunks are not those of 42 images"),
        (chunk("chunk_bytes", 1), "chunk-0-0.bin has "),
        (lambda index: index.update(shards=[]), "shards must be left out"),
        (lambda index: index["chunks"].pop(), "its chunks are not those of 42 images"),
        (lambda index: index["chunks"].append(index["chunks"][0]), "its chunks are not those of 42 images"),
    ],
)
def test_an_index_that_this_program_does_not_write_is_refused(
    edit: Callable[[Any], None], message: str, copy: Path
) -> None:
    edited(copy / "train" / "index.json", edit)
    with pytest.raises(InputError) as caught:
        opened(copy)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Harm:
    """Makes a folder when it is read from a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


def test_pickles_are_not_read(copy: Path) -> None:
    shutil.rmtree(copy / "train")
    writer = litdata.streaming.Cache(str(copy / "train"), chunk_size=64)
    writer[0] = {"image": Harm()}
    writer.done()
    writer.merge()
    with pytest.raises(InputError, match=r"index\.json can't be used"):
        opened(copy)
    assert not Path("harm").exists()
    assert b"no_header" not in (copy / "train" / "index.json").read_bytes()
    list(litdata.StreamingDataset(str(copy / "train")))  # which does read them
    assert Path("harm").exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content.update(version=2), "version must be 1, got 2"),
        (lambda content: content.pop("task"), "task must be a dictionary, got nothing"),
        (lambda content: content["task"].update(labels=[1]), "task.labels[0] must be text, got 1"),
        (lambda content: content["task"].update(labels=["a"] * 11), "labels must differ, got a twice"),
        (lambda content: content["task"].update(image_shape=[3, 24]), "task.image_shape must be a list of 3"),
        (lambda content: content["task"].update(image_shape=[3, 2**31, 2**31]), "bytes, but 8 images take"),
        (lambda content: content["task"].update(image_shape=[3, 24, 25]), "bytes, but 8 images take"),
        (lambda content: content["task"].update(background="/etc/passwd"), "background must be a colour"),
        (lambda content: content["task"].update(owner="me"), "task.owner must be left out"),
        (lambda content: content["splits"]["val"].update(images=-1), "splits.val.images must be a whole number"),
        (lambda content: content["splits"]["val"].update(known=[1]), "splits.val.known must be a list of 11"),
        (lambda content: content["splits"]["val"].update(images=9), "its chunks are not those of 9 images"),
        (lambda content: content["splits"].update(more={}), "splits.more must be left out"),
    ],
)
def test_a_description_of_another_form_is_refused(edit: Callable[[Any], None], message: str, copy: Path) -> None:
    edited(copy / "task.json", edit)
    with pytest.raises(InputError) as caught:
        opened(copy)
    assert message in str(caught.value)


def damage(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        file.write(content)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "train/chunk-0-1.bin").unlink(), "train/chunk-0-1.bin can't be read: No such file"),
        (
            lambda folder: os.truncate(folder / "train/chunk-0-1.bin", 100),
            "chunk-0-1.bin has 100 bytes, but 8 images take",
        ),
        (lambda folder: damage(folder / "train/chunk-0-0.bin", 8, b"\0"), "chunk-0-0.bin can't be used: it is damaged"),
        (lambda folder: damage(folder / "train/chunk-0-0.bin", 0, b"LDFZ01\0\0"), "can't be used: it is damaged"),
        (lambda folder: damage(folder / "train/chunk-0-0.bin", -8, b"LDARW01\0"), "can't be used: it is damaged"),
        (lambda folder: (folder / "train/index.json").unlink(), "index.json can't be read: No such file"),
        (
            lambda folder: (folder / "train/index.json").write_text("[" * 10**6),
            "index.json can't be read: it is damaged",
        ),
        (lambda folder: (folder / "task.json").unlink(), "has no task.json: optimize has not finished it"),
        (lambda folder: (folder / "task.json").write_bytes(b"\xff"), "task.json can't be read: it is damaged"),
        (
            lambda folder: (folder / "test/names.json").write_text("[]"),
            "names.json can't be used: it is not of 7 images",
        ),
        (lambda folder: (folder / "test/names.json").write_text('["\\u0000"]'), "[0] must be the name of a file"),
        (shutil.rmtree, "there is no folder"),
    ],
)
def test_a_damaged_folder_is_reported(harm: Callable[[Path], Any], message: str, copy: Path) -> None:
    harm(copy)
    with pytest.raises(InputError) as caught:
        opened(copy)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no array", pickle.dumps([1])])
def test_damaged_hashes_are_reported(content: bytes, copy: Path) -> None:
    data = opened(copy)
    (copy / "train" / "hashes.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"hashes\.npy can't be read: it is damaged"):
        data.state_dict()
    np.save(copy / "train" / "hashes.npy", np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"hashes\.npy can't be used: it is not of 42 images"):
        data.state_dict()


def test_what_is_damaged_or_lost_later_is_reported(copy: Path) -> None:
    first = 4 * (IN_A_SHARD + 2)  # byte of the first sample: the lengths of its two parts, pixels, marks
    chunk = copy / "train" / "chunk-0-0.bin"
    for at, content in ((first, b"\1"), (first + 4, b"\1"), (first + 8 + 3 * 24 * 24, b"\5")):
        whole = chunk.read_bytes()
        damage(chunk, at, content)
        data = opened(copy)
        assert data.train_set is not None
        with pytest.raises(InputError, match="train can't be read: a file is damaged, or was deleted meanwhile"):
            data.train_set[0]
        chunk.write_bytes(whole)
    data = opened(copy)
    chunk.unlink()
    assert data.train_set is not None
    with pytest.raises(InputError, match="was deleted meanwhile"):
        data.train_set[0]


def mistake(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_mistakes_take_a_line(
    place: Path, workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, shards = str(place / "images.csv"), str(place / "shards")
    assert mistake(["optimize", table], capsys) == "error: optimize needs an output: the folder to write\n"
    expected = f"error: {shards} is not empty: delete it, or name another folder\n"
    assert mistake(["optimize", table, "--output", shards], capsys) == expected
    assert "output must be a folder, but" in mistake(["optimize", table, "--output", table], capsys)
    two = ["optimize", table, "--output", "s", *DDP, "2"]
    assert mistake(two, capsys) == "error: optimize is done by one process: leave out --trainer.devices\n"
    for path, expected in {
        "nothing": "error: there is no folder nothing: write one with optimize TABLE --output nothing\n",
        "s3://bucket/set": "error: path must be a folder, got s3://bucket/set: mount the object store as one\n",
    }.items():
        assert mistake(["fit", "--data.path", path], capsys) == expected
    monkeypatch.setitem(sys.modules, "litdata", None)
    expected = "error: the use of shards needs more packages: pip install 'litdata"
    assert mistake(["optimize", table, "--output", "s"], capsys).startswith(expected)
    assert expected in mistake(["fit", "--data.path", shards], capsys)
    assert not list(Path.cwd().iterdir())
