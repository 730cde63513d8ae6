"""A user's mistake is reported in one line that names it and the remedy, with exit status 2, and harms nothing.

Mistakes in archives, tables and images are tried on their readers, in tests/data and tests/images; some are here too.
"""

import io
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, FILES, read_digits
from tests.conftest import QUIET, in_a_process
from tests.data.test_image_files import rows_of
from tests.data.test_mnist import idx
from tests.images.test_decoding import bomb

Content = bytes | Callable[[bytes], bytes] | None  # of a file; of what a checkpoint's becomes; of none

IMAGES, DIGITS = FILES["train"]
SET = {IMAGES: idx((3, 28, 28), bytes(3 * 28 * 28)), DIGITS: idx((3,), bytes([1, 2, 3]))}
DIGIT = Image.fromarray(255 - read_digits(ARCHIVES, "test").images[0, 0].numpy())  # dark on light
CHECKPOINT = "runs/version_0/best.ckpt"


class Mistake(NamedTuple):
    """A command, what each line of its error contains, and the files that it needs in the folder of `earlier`."""

    command: str
    expected: str | tuple[str, ...]
    files: Mapping[str, Content] = {}


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def stored(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


PNG = saved(DIGIT, "PNG")


def a_set(expected: str, files: Mapping[str, Content]) -> Mistake:
    """A mistake in the set that `fit` reads."""
    command = "fit --data.data_dir set --data.val_size 1"
    return Mistake(command, expected, {f"set/{name}": content for name, content in files.items()})


def a_table(text: str, *expected: str, words: str = "") -> Mistake:
    """A mistake in the table that `fit` reads."""
    command = f"fit --data TableDataModule --data.table t.csv --data.val_size 0 --data.test_size 0 {words}"
    return Mistake(command, expected, {"t.csv": text.encode()})


def an_image(expected: str, content: bytes | None) -> Mistake:
    """A mistake in an image that a table names."""
    mistake = a_table("path,tags\na.png,cat\nx.png,dog\n", f"t.csv, line 3: {{}}/x.png {expected}")
    return mistake._replace(files={**mistake.files, "x.png": content})


def a_config(expected: str, content: bytes | None, command: str = "fit") -> Mistake:
    return Mistake(f"{command} --config c.yaml", expected, {"c.yaml": content})


def a_checkpoint(expected: str, content: Content) -> Mistake:
    return Mistake("test --ckpt_path x.ckpt", expected, {"x.ckpt": content})


def an_option(words: str, expected: str) -> Mistake:
    return Mistake(f"fit {words}", expected)


def as_it_is(whole: bytes) -> bytes:
    return whole


def without_weights(whole: bytes) -> bytes:
    return stored({**torch.load(io.BytesIO(whole), weights_only=True), "state_dict": {}})


def of_another_model(whole: bytes) -> bytes:
    content = torch.load(io.BytesIO(whole), weights_only=True)
    content["hyper_parameters"]["depth"] = 3
    return stored(content)


DATA_MISTAKES = {
    "no folder": Mistake("fit --data.data_dir nowhere", "nowhere is not a folder; --data.data_dir takes the folder"),
    "a truncated archive": a_set(
        "set/train-images-idx3-ubyte is truncated or not in IDX format; copy it again", {IMAGES: SET[IMAGES][:-5]}
    ),
    "a text for a gzip": a_set(
        "set/train-images-idx3-ubyte.gz is truncated or not a gzip archive; copy it again",
        {IMAGES: None, f"{IMAGES}.gz": b"not found"},
    ),
    "no table": Mistake(
        "fit --data TableDataModule --data.table no.csv", "there is no table no.csv: name it with --data.table"
    ),
    "no header": a_table("a.png,cat\nb.png,dog\n", "t.csv has no column path, but a.png, cat: name that of the paths"),
    "an unknown label": a_table(
        "path,tags\na.png,cat|cow\n",
        "t.csv, line 2: cow is none of the labels: correct it, or name it in --data.labels when you train",
        words="--data.labels '[cat, dog]'",
    ),
    "many mistakes": a_table(
        "path,tags\n" + "no.png\n" * 30, *(f"t.csv, line {line}: must have" for line in range(2, 22)), "and 10 more"
    ),
    "a missing image": an_image("can't be read: No such file", None),
    "a truncated image": an_image("", PNG[: len(PNG) // 2]),
    "a text for an image": an_image("is not an image, or is damaged", b"not found"),
}

OPTION_MISTAKES = {
    mistake.command: mistake
    for mistake in [
        Mistake(
            "",
            "no command is given: "
            "there are fit, validate, test, predict, tune, export, optimize, demo, serve, compare; --help",
        ),
        Mistake("train", "there is no command train: did you mean fit?"),
        Mistake("--model.head softmax fit", "--model.head=softmax must come after fit"),
        an_option("--nonsense 1", "there is no option --nonsense: --help lists them"),
        an_option("nonsense", "there is no table nonsense: name it with --data.table"),
        Mistake(
            "fit --head softmax --lr 3 --epochs 2 --batch_size 4 --model.hed x --trainer.epochs 3 "
            "--data.val-size 4 --hlep",
            (
                "--head: did you mean --model.head?",
                "--lr: did you mean --model.lr?",
                "--epochs: did you mean --trainer.max_epochs?",
                "--batch_size: did you mean --data.batch_size?",
                "--model.hed: did you mean --model.head?",
                "--trainer.epochs: did you mean --trainer.max_epochs?",
                "--data.val-size: did you mean --data.val_size?",
                "--hlep: did you mean --help?",
            ),
        ),
        Mistake(
            "fit --optimizer SGD --lr_scheduler x --image_size 3",
            (
                "--optimizer: did you mean --model.optimizer?",
                "--lr_scheduler: did you mean --model.lr_schedule or --model.lr?",
                "--image_size: did you mean --data.image_size, of TableDataModule?",
            ),
        ),
        an_option("--data.tabel x.csv", "--data.tabel: did you mean --data.table, of TableDataModule?"),
        Mistake("predict --lits files.txt", "--lits: did you mean --list?"),
        an_option(
            "--best_checkpoint.monitor val_mapp",
            "--best_checkpoint.monitor: no metric val_mapp is logged: did you mean val_map?",
        ),
        an_option(
            "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor loss",
            "EarlyStopping: no metric loss is logged",
        ),
        an_option("--model.head tanh", "--model.head must be one of sigmoid, softmax, got tanh"),
        an_option("--model.labels '[a, b]'", "did you mean --data.labels, of TableDataModule?"),
        an_option("--model.network resnet17", "or the name of a timm model, got resnet17: did you mean resnet18"),
        an_option("--model.lr fast", "--model.lr must be a number, got fast"),
        an_option("--model.lr -1", "lr must be a positive number, got -1.0"),
        an_option("--model.lr nan", "--model.lr: Expected a float. Got value: nan"),
        an_option("--model.lr_schedule cosine", "--model.lr_schedule must be one of constant, one_cycle, got cosine"),
        an_option("--model.optimizer Adma", "must be one of AdamW, Adam, NAdam, RAdam, RMSprop, SGD, got Adma"),
        an_option("--model.optimizer Muon", "optimizer Muon takes matrices alone, but networks have convolutions and"),
        an_option("--model.optimizer.momentum 0.9", "AdamW has no option momentum: it has betas, eps, amsgrad"),
        an_option("--model.optimizer.eps small", "--model.optimizer_options: Expected a bool; Expected a float"),
        an_option("--model.optimizer.eps true", "optimizer_options.eps must be a number, got True"),
        an_option("--model.optimizer.lr 1", "optimizer_options can't have lr: it is an option of the model, set lr"),
        an_option("--model.optimizer SGD --model.optimizer.nesterov true", "Nesterov momentum requires a momentum"),
        an_option("--model.gamma_neg -1", "gamma_neg must be at least 0, got -1.0"),
        an_option("--model.pos_weight '[1, 2]'", "pos_weight must be auto, or 11 positive numbers, got [1.0, 2.0]"),
        an_option("--model.threshold 1.5", "threshold must be in [0, 1], got 1.5"),
        an_option("--model.threshold '[0.5, 0.5]'", "threshold must be a number or 11 of them, got 2"),
        an_option("--model.threshold 'precision>=2'", "threshold precision>=2 is neither a number nor a rule"),
        an_option("--data NoSuchModule", "NoSuchModule"),
        an_option("--data.nonsense 1", "there is no option --data.nonsense: --help lists them"),
        an_option(
            "--data.flip true",
            "--data.flip is an option of TableDataModule and StreamingDataModule, but the data are of MNIST",
        ),
        an_option("--data.val_size 60000", "val_size must be in [0, 60000), got 60000: set --data.val_size"),
        an_option("--data.val_size many", "--data.val_size must be a number, got many"),
        an_option("--data.batch_size 99999999999999999999", "--data.batch_size is too large: 99999999999999999999"),
        an_option("--data.max_rotation .inf", "max_rotation must be at least 0, got inf"),
        an_option("--data.split_seed -1", "split_seed must be at least 0, got -1"),
        an_option("--data.split_seed 99999999999999999999", "--data.split_seed is too large: 99999999999999999999"),
        an_option("--data SceneDataModule --data.canvas_size 999999999", "more memory than there is: lower a size"),
        an_option("--seed_everything -1", "--seed_everything must be in [0, 4294967295], got -1"),
        an_option("--seed_everything 4294967296", "--seed_everything must be in [0, 4294967295], got 4294967296"),
        an_option("--seed_everything x", "--seed_everything: Expected a bool; Expected an int; Given value: x"),
        an_option("--trainer.gradient_clip_val -1", "--trainer.gradient_clip_val must be at least 0, got -1"),
        an_option("--trainer.log_every_n_steps -1", "--trainer.log_every_n_steps must be at least 0, got -1"),
        an_option("--trainer.max_epochs ten", "--trainer.max_epochs must be a number, got ten"),
        an_option("--trainer.max_epochs -5", "`max_epochs` must be a non-negative integer or -1. You passed in -5"),
        an_option("--trainer.max_time soon", "`Timer(duration='soon')` is not a valid duration"),
        an_option("--trainer.accelerator nope", "`accelerator='nope'`. Available names are: auto, "),
        an_option("--trainer.accelerator tpu", "pip install -U 'torch_xla"),
        an_option("--trainer.devices 0", "`Trainer(devices='0')` value is not a valid input using cpu accelerator"),
        an_option("--trainer.strategy nope", "invalid strategy name: `strategy='nope'`"),
        an_option("--trainer.precision 8", "--trainer.precision: Expected one of"),
        an_option("--trainer.precision transformer-engine", "pip install -U 'transformer_engine"),
        an_option("--trainer.profiler nope", "`profiler`"),
        an_option(
            "--trainer.val_check_interval 2.5", "2.5 for val_check_interval, it has to be in [0.0, 1.0] or an int"
        ),
        an_option(
            "--trainer.gradient_clip_algorithm value",
            "--trainer.gradient_clip_algorithm does nothing without --trainer.gradient_clip_val",
        ),
        an_option(
            "--trainer.min_epochs 3 --trainer.max_epochs 2",
            "--trainer.min_epochs 3 is more than --trainer.max_epochs 2",
        ),
        an_option("--trainer.val_check_interval 0", "--trainer.val_check_interval must be above 0, got 0"),
        an_option("--trainer.check_val_every_n_epoch 0", "--trainer.check_val_every_n_epoch must be above 0, got 0"),
        an_option("--trainer.accumulate_grad_batches 0", "--trainer.accumulate_grad_batches must be above 0, got 0"),
        an_option("--trainer.callbacks nope", "--trainer.callbacks: "),
        an_option(
            "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=val_loss --trainer.callbacks.mode=up",
            "`mode` can be min, max, got up",
        ),
        an_option("--trainer.logger nope", "--trainer.logger: "),
        an_option("--trainer.logger CSVLogger", "are required: save_dir"),
        an_option("--trainer.logger CometLogger", "pip install -U 'comet-ml"),
        an_option("--last_checkpoint.every_n_epochs 0", "last_checkpoint.every_n_epochs must be at least 1, got 0"),
        an_option("--best_checkpoint.save_top_k -3", "save_top_k=-3. Must be >= -1"),
        an_option("--trainer nothing", '--trainer: Unable to load config "nothing"'),
        an_option("--config nowhere.yaml", "there is no file nowhere.yaml, and no recipe of this name; recipes are"),
        an_option("--config fats", "there is no file fats, and no recipe of this name: did you mean fast?"),
        an_option("--config set", "--config: Path is not a file: '{}/set'"),
        Mistake("predict --figure 10000", "figure takes numbers of images from 0 to 9999, got 10000"),
        Mistake("predict --figure '[9, -1]'", "figure takes numbers of images from 0 to 9999, got -1"),
        Mistake("predict --figure 0,9", 'Expected a list, such as "[0, 9]"'),
        Mistake(
            "predict --figure 500 --trainer.limit_predict_batches 2",
            "figure takes numbers of images from 0 to 499, got 500",
        ),
        Mistake("predict --trainer.limit_predict_batches 0", "there were no images to predict: raise --trainer.limit"),
        Mistake("test --explain true --figures false", "explain draws in report.html, which figures false leaves out"),
        Mistake("test --trainer.limit_test_batches 0", "test had no images to measure: raise --trainer.limit_test"),
        Mistake(
            "validate --trainer.limit_val_batches 0", "validate had no images to measure: raise --trainer.limit_val"
        ),
        Mistake(
            "tune --output m.ckpt --trainer.limit_val_batches 0", "tune had no images to learn from: raise --trainer"
        ),
        Mistake(
            "validate --output m.ckpt", "validate has no --output: use tune --threshold … --calibrate … --output …"
        ),
        Mistake("tune", "tune needs an output: the checkpoint to write, ending in .ckpt"),
        Mistake("tune --output m.ckpt --threshold f2", "threshold f2 is neither a number nor a rule"),
        Mistake("tune --output m.ckpt --threshold 1.5", "threshold must be in [0, 1], got 1.5"),
        Mistake("tune --output m.ckpt --threshold '[0.5, 0.5]'", "threshold must be a number or 11 of them, got 2"),
        Mistake("tune --output m.ckpt --data.val_size 0", "there are no images to validate on: val_size is 0"),
        Mistake("predict --data ImageFilesDataModule", "no images are named: give paths, folders or patterns"),
        Mistake("predict a.png --data MNISTDataModule", "a.png is for --data ImageFilesDataModule"),
        Mistake("predict --list no.txt", "--list takes a text file, and no.txt can't be read as one: No such file"),
        Mistake(
            "predict --list a.png", "--list takes a text file, and a.png can't be read as one: it is not text in UTF-8"
        ),
        Mistake("predict --list l.txt", "l.txt names no image: write one on each line", {"l.txt": b"\n \n"}),
        Mistake("predict no.png", "there is no image at no.png: name an image, a folder of images, or a pattern"),
        *(
            Mistake(f"predict --data ImageFilesDataModule {words}", expected)
            for words, expected in [
                ("--data.path no.png", "there is no image at no.png: name an image, a folder of images, or a pattern"),
                ("--data.path '*.gif'", "there is no image at *.gif"),
                ("--data.path set", "there is no image at set: a pattern such as 'set/**/*.png' looks into subfolders"),
                ("--data.path a.png --data.num_workers -1", "num_workers must be at least 0, got -1"),
                ("--data.path a.png --data.batch_size 0", "batch_size must be at least 1, got 0"),
                (
                    "--data.path a.png --data.preprocessing squash",
                    "preprocessing must be one of resize, mnist, got",
                ),
                ("--data.path a.png --figure 1", "figure takes numbers of images from 0 to 0, got 1"),
            ]
        ),
    ]
}

CONFIG_MISTAKES = {
    "a config that is not YAML": a_config(
        "--config takes YAML files, and c.yaml is not one, line 2: ", b"model: [lr\n"
    ),
    "a config of a date that is none": a_config("--config takes YAML files, and c.yaml is not one", b"a: 2020-13-45"),
    "a config without end": a_config("--config takes YAML files, and c.yaml is not one", b"[" * 5000),
    "a command of 3": Mistake(
        "--config c.yaml fit", "a configuration names the options of fit, each with its value", {"c.yaml": b"fit: 3"}
    ),
    "a config that is a text": a_config("Unexpected config: hello", b"hello"),
    "a config that is a list": a_config("Unexpected config: ", b"- model\n"),
    "a config that is no text": a_config("--config takes YAML files, and c.yaml is not a text in UTF-8", PNG),
    "a config of another key": a_config("there is no option --nonsense: --help lists them", b"nonsense: 3"),
    "a config of another option": a_config("--model.hed: did you mean --model.head?", b"model: {hed: sigmoid}"),
    "a config of a bad value": a_config("--model.lr must be a number, got fast", b"model: {lr: fast}"),
    "a trainer of null": a_config("--trainer must have options, got None: leave it out", b"trainer: null"),
    "a trainer of null to predict": a_config("--trainer must have options, got None", b"trainer: null", "predict"),
    "a trainer of 5": a_config("--trainer must have options, got 5: leave it out", b"trainer: 5"),
    "a model of null": a_config("--model must have options, got None: leave it out", b"model: null"),
    "a model of null to test": a_config("--model must have options, got None", b"model: null", "test"),
    "a checkpoint of null": a_config("--best_checkpoint must have options, got None", b"best_checkpoint: null"),
    "data of null": a_config("fit.data", b"data: null"),
}

CHECKPOINT_MISTAKES = {
    "no checkpoint": Mistake("test --ckpt_path no.ckpt", "no checkpoint at no.ckpt: give best, last, or"),
    "no checkpoint to resume from": Mistake("fit --ckpt_path no.ckpt", "no checkpoint at no.ckpt: give best"),
    "a folder for a checkpoint": Mistake("predict --ckpt_path runs", "no checkpoint at runs: give best"),
    "no run to resume from": Mistake("fit --ckpt_path best", "no run in runs has a checkpoint yet", {CHECKPOINT: None}),
    "no run to test": Mistake("test", "no run in runs has a checkpoint yet: run fit first", {CHECKPOINT: None}),
    "a text for a checkpoint": a_checkpoint("x.ckpt is damaged or not a checkpoint", b"version https://git-lfs.github"),
    "another project's": a_checkpoint(
        "x.ckpt is not a checkpoint of multilabel_pl: it names no labels and image shape",
        stored({"state_dict": {}, "hyper_parameters": {"lr": 0.1}}),
    ),
    "another model's": a_checkpoint("no model can be built from x.ckpt: ", of_another_model),
    "no weights": a_checkpoint("x.ckpt is another model's checkpoint: its weights have other names", without_weights),
    "other labels": Mistake(
        "test --data TableDataModule --data.table t.csv --data.test_size 1",
        "the model's labels are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ≥5, but the data's are cat, dog",
        {"t.csv": b"path,tags\na.png,cat\nb.png,dog\n", "b.png": PNG + b"no copy"},
    ),
    "other images": Mistake(
        "test --data SceneDataModule --data.test_size 1 --data.canvas_size 56",
        "the model's images are 1x28x28, but the data's are 1x56x56",
    ),
}

OUTPUT_MISTAKES = {
    mistake.command: mistake
    for mistake in [
        Mistake("predict --output p.txt", "output must end in .csv, .jsonl or .parquet, or be -, got p.txt"),
        Mistake("export --output model.txt", "output must end in .onnx or .pt2, got model.txt"),
        Mistake("export --output model.pt2", "model.pt2 is a folder; choose another output", {"model.pt2/x": b""}),
        Mistake("export --output a.png/model.pt2", "a.png/model.pt2 can't be written: Not a directory"),
        Mistake(
            "export --data ImageFilesDataModule --data.path a.png",
            "export needs labelled images, which ImageFilesDataModule does not have: choose other --data",
        ),
        Mistake("predict --output a.png/p.csv", "a.png/p.csv can't be written: Not a directory"),
        Mistake("predict --output a.png/new/p.csv", "a.png/new/p.csv can't be written: Not a directory"),
        Mistake("predict --output p.csv", "p.csv is a folder; choose another output", {"p.csv/x": b""}),
        Mistake("predict --output /proc/p.csv", "/proc/p.csv can't be written: "),
        Mistake("predict --output /proc/new/p.jsonl", "/proc/new/p.jsonl can't be written: "),
        Mistake("tune --output m.pt", "output must be a file ending in .ckpt, got m.pt"),
        Mistake("tune --output m.ckpt", "output must be a file ending in .ckpt, got m.ckpt", {"m.ckpt/x": b""}),
        Mistake("tune --output a.png/m.ckpt", "a.png/m.ckpt can't be written: Not a directory"),
        Mistake("tune --output /proc/m.ckpt", "/proc/m.ckpt can't be written: "),
        *(
            Mistake(
                f"{command} --ckpt_path x/best.ckpt",
                f"x/{command}/report.md can't be written: Not a directory",
                {"x/best.ckpt": as_it_is, f"x/{command}": b""},
            )
            for command in ("validate", "test")
        ),
        Mistake("fit --trainer.default_root_dir a.png", "a.png is no folder, or a link to none"),
        Mistake("fit --trainer.default_root_dir /proc/new", "/proc/new: No such file or directory"),
    ]
}

MISTAKES = {
    **DATA_MISTAKES,
    **OPTION_MISTAKES,
    **CONFIG_MISTAKES,
    **CHECKPOINT_MISTAKES,
    **OUTPUT_MISTAKES,
}


@pytest.fixture
def earlier(workplace: Path, run_folder: Path) -> Path:
    """The current folder, with what earlier commands left in it, a set in MNIST's format, and two images."""
    for folder in ("runs/version_0/predict", "runs/version_0/test", "set"):
        Path(folder).mkdir(parents=True)
    os.link(run_folder / "best.ckpt", CHECKPOINT)
    for path in ("config.yaml", "metrics.csv", "test/report.md", "predict/predictions.csv", "predict/predictions.png"):
        Path("runs/version_0", path).write_text("earlier")
    for name, content in zip(chain(*FILES.values()), cycle(SET.values()), strict=False):
        Path("set", name).write_bytes(content)
    for name in ("a.png", "b.png"):
        Path(name).write_bytes(PNG)
    return workplace


def write(files: Mapping[str, Content]) -> None:
    """Writes files, and removes those whose content is None."""
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            Path(name).unlink(missing_ok=True)
        else:
            Path(name).write_bytes(content(Path(CHECKPOINT).read_bytes()) if callable(content) else content)


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def check_refused(mistake: Mistake, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs the command and checks its status and its errors; returns its standard output."""
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(mistake.command))
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    expected = [mistake.expected] if isinstance(mistake.expected, str) else mistake.expected
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    for line, text in zip(lines, expected, strict=True):
        assert line.startswith("error: ")
        assert text.replace("{}", str(Path.cwd())) in line
    return out


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_before_anything_is_written(
    name: str, earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(MISTAKES[name].files)
    before = contents(earlier)
    assert "DataLoader" not in check_refused(MISTAKES[name], capsys)  # no progress bar has started
    assert contents(earlier) == before


LATE_MISTAKES = [
    an_option(
        "--best_checkpoint.monitor nope",
        "--best_checkpoint.monitor: no metric nope is logged; there are val_loss, val_map, ",
    ),
    an_option(
        "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor nope",
        "EarlyStopping: no metric nope is logged; there are val_loss, val_map, ",
    ),
    an_option("--trainer.val_check_interval 4", "`val_check_interval` (4) must be less than or equal to the number"),
    an_option("--trainer.limit_val_batches 0.00001", "Please increase the `limit_val_batches` argument"),
    an_option("--trainer.callbacks+=LearningRateMonitor --trainer.logger=false", "Cannot use `LearningRateMonitor`"),
]


@pytest.mark.parametrize("mistake", LATE_MISTAKES, ids=lambda mistake: mistake.command)
def test_a_mistake_that_training_finds_is_reported_and_harms_nothing(
    mistake: Mistake, earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(earlier)
    brief = "--trainer.max_epochs 1 --trainer.limit_train_batches 3 --data.data_dir set --data.val_size 1"
    check_refused(Mistake(f"{mistake.command} {brief} {shlex.join(QUIET)}", mistake.expected), capsys)
    assert before.items() <= contents(earlier).items()


def test_unreadable_images_are_left_out_and_unusual_ones_are_not(
    earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = Image.fromarray(np.array(DIGIT).astype(np.uint16) * 257)
    animation = [DIGIT.point(lambda level: 255 - level)]
    odd = {
        "1x1.png": saved(Image.new("L", (1, 1)), "PNG"),
        "16 bit.png": saved(deep, "PNG"),
        "animated.gif": saved(DIGIT, "GIF", save_all=True, append_images=animation),
        "cmyk.jpg": saved(DIGIT.convert("CMYK"), "JPEG"),
    }
    bad = {"bomb.png": bomb(), "empty.png": b"", "text.png": b"not found", "truncated.png": PNG[: len(PNG) // 2]}
    write({f"scans/{name}": content for name, content in (odd | bad).items()})
    with pytest.raises(SystemExit) as caught:
        main(
            shlex.split(
                "predict --data ImageFilesDataModule --data.path scans --data.preprocessing resize --output p.csv"
            )
        )
    assert caught.value.code == 1
    warnings = [line for line in capsys.readouterr().err.splitlines() if line]
    for name, warning in zip(bad, warnings, strict=True):
        assert warning.startswith(f"warning: scans/{name} ")
    rows = {row["path"].removeprefix("scans/"): row for row in rows_of("p.csv")}
    assert {name for name, row in rows.items() if row["error"]} == set(bad)
    assert {name for name, row in rows.items() if row["0"]} == set(odd)
    names = ",cat\n".join(odd)
    write({"scans/t.csv": f"path,tags\n{names},dog\n".encode()})
    sizes = "--data.val_size 0 --data.test_size 0 --trainer.fast_dev_run true"
    main(shlex.split(f"fit --data TableDataModule --data.table scans/t.csv {sizes}"))
    assert "images: 4 (4 train)" in capsys.readouterr().out


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Lets no file grow beyond so many bytes: Python ignores the signal and gets an error, as from a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


SMALL = "--data.data_dir set --data.val_size 1"
FULL_DISKS = {
    (f"predict --output p.csv {SMALL}", 300): "p.csv: File too large",
    ("export --output model.onnx", 300): "model.onnx: File too large",
    ("export --output model.pt2", 300): "model.pt2: File too large",
    (f"predict --output p.jsonl {SMALL}", 300): "p.jsonl: File too large",
    (f"predict --output p.csv --figure true {SMALL}", 2_000): "p.png: File too large",
    (f"predict {SMALL}", 300): "runs/version_0/predict/predictions.csv: File too large",
    (f"tune --output m.ckpt --figures false {SMALL}", 100_000): "m.ckpt: File too large",
    (f"test {SMALL}", 500): "runs/version_0/test/metrics.json: File too large",
    (f"test {SMALL}", 5_000): "runs/version_0/test/precision_recall.png: File too large",
}


@pytest.mark.parametrize(
    ("command", "size"),
    [pytest.param(*key, marks=pytest.mark.slow if ".onnx" in key[0] else ()) for key in FULL_DISKS],
)
def test_a_full_disk_is_reported_and_harms_no_file(
    command: str, size: int, earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        dict.fromkeys(["p.csv", "p.jsonl", "p.png", "m.ckpt", "runs/version_0/test/precision_recall.png"], b"earlier")
    )
    before = contents(earlier)
    with full_disk(size):
        check_refused(Mistake(command, FULL_DISKS[command, size]), capsys)
    whole = {"metrics.json", "mistakes.csv", "outputs.npz", "report.md"}  # what was written before the disk was full
    after = {path: content for path, content in contents(earlier).items() if path.is_file() and path.name not in whole}
    assert after.items() <= before.items()


def test_a_folder_that_is_not_writable_is_reported_first(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("closed").mkdir(mode=0o555)
    if os.access("closed", os.W_OK):
        pytest.skip("root may write anywhere")
    for command, output in (("predict", "p.csv"), ("tune", "m.ckpt")):
        mistake = Mistake(f"{command} --output closed/{output}", f"closed/{output} can't be written: Permission denied")
        assert "DataLoader" not in check_refused(mistake, capsys)


@pytest.mark.parametrize(
    "words", [["--version"], pytest.param(["fit", "--help"], marks=pytest.mark.slow)], ids=" ".join
)
def test_a_closed_pipe_is_no_mistake(words: list[str], earlier: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "multilabel_pl", *words]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert result.stderr == b""
    assert result.returncode in (0, 1)


def test_a_full_standard_output_is_reported() -> None:
    command = [sys.executable, "-m", "multilabel_pl", "--version"]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert result.stderr == b"error: standard output: No space left on device\n"
    assert result.returncode == 2


def test_an_error_that_a_library_words_is_reported() -> None:
    program = """
import multilabel_pl.__main__ as entry
def fail(): raise OSError("a writable cache is needed")
entry._run = fail
entry.main()
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stderr == "error: a writable cache is needed\n"
    assert result.returncode == 2


@pytest.mark.slow
def test_a_mistake_is_one_line_in_a_process_of_its_own(earlier: Path) -> None:
    result = in_a_process(["fit", "--data.val_size", "60000"])
    assert result.returncode == 2
    assert result.stderr == "error: val_size must be in [0, 60000), got 60000: set --data.val_size\n"
