"""From words to options: short forms, and what is known before options are parsed."""

import sys
from pathlib import Path
from typing import Any

import pytest

from multilabel_pl.cli.recipes import recipes
from multilabel_pl.cli.request import Request
from multilabel_pl.errors import InputError

CONFIG = "model: {head: softmax, lr: 0.5}\nckpt_path: null\ndata: SceneDataModule\n"


@pytest.fixture
def shards(workplace: Path) -> None:
    """A folder `shards` in the current one."""
    Path("shards").mkdir()
    Path("shards", "task.json").touch()  # optimize writes it last


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("test", {}),
        ("test --ckpt_path last --figures false", {"ckpt_path": "last", "figures": "false"}),
        ("test --ckpt_path=last --output=a=b", {"ckpt_path": "last", "output": "a=b"}),
        ("test --ckpt_path last --ckpt_path=best", {"ckpt_path": "best"}),
        ("test --verbose --ckpt_path", {"verbose": None, "ckpt_path": None}),
        ("test --model.lr -1 --output -", {"model.lr": "-1", "output": "-"}),
    ],
)
def test_options_are_read_from_words(words: str, options: dict[str, Any]) -> None:
    request = Request.read(words.split())
    assert (request.command, request.options) == ("test", options)


@pytest.mark.parametrize(
    ("words", "options"), [("", {}), ("--help", {"help": None}), ("--config fast", {"model.lr": 0.008})]
)
def test_a_command_may_be_missing(words: str, options: dict[str, Any]) -> None:
    request = Request.read(words.split())
    assert request.command is None
    assert options.items() <= request.options.items()


def test_the_words_of_the_process_are_read_if_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["multilabel_pl", "test", "--ckpt_path", "last"])
    assert Request.read(None).options == {"ckpt_path": "last"}


@pytest.mark.parametrize("words", ["fit --config c.yaml", "fit --config=c.yaml", "fit -c c.yaml"])
def test_options_are_read_from_configuration_files(words: str, workplace: Path) -> None:
    Path("c.yaml").write_text(CONFIG)
    request = Request.read(words.split())
    assert request.options == {"model.head": "softmax", "model.lr": 0.5, "ckpt_path": None, "data": "SceneDataModule"}


@pytest.mark.parametrize(
    ("words", "head"),
    [
        ("fit --config c.yaml --model.head sigmoid", "sigmoid"),
        ("fit --model.head sigmoid --config c.yaml", "softmax"),
        ("fit --config c.yaml --config d.yaml", "tanh"),
        ("--config all.yaml fit", "none"),
        ("--config all.yaml fit --config c.yaml", "softmax"),
    ],
)
def test_later_options_win(words: str, head: str, workplace: Path) -> None:
    Path("c.yaml").write_text(CONFIG)
    Path("d.yaml").write_text("model: {head: tanh}")
    Path("all.yaml").write_text("fit: {model: {head: none}}\ntest: {model: {head: other}}")
    assert Request.read(words.split()).options["model.head"] == head


@pytest.mark.parametrize("content", [b"- model\n", b"hello"])
def test_a_configuration_file_without_options_is_left_to_the_parser(content: bytes, workplace: Path) -> None:
    Path("c.yaml").write_bytes(content)
    words = ["fit", "--config", "c.yaml", "--ckpt_path", "last"]
    assert Request.read(words).options == {"ckpt_path": "last"}


def test_options_are_read_from_a_dictionary() -> None:
    given = {"test": {"ckpt_path": "last", "trainer": {"default_root_dir": "elsewhere", "callbacks": {}}}}
    options = {"ckpt_path": "last", "trainer.default_root_dir": "elsewhere", "trainer.callbacks": {}}
    assert Request.read(given) == Request("test", options, given)
    assert Request.read({"seed_everything": 3}).command is None


@pytest.mark.parametrize("value", ["null", None])
def test_null_is_as_good_as_not_given(value: str | None) -> None:
    assert Request("test", {"ckpt_path": value}).get("ckpt_path") is None
    assert Request("test", {}).get("ckpt_path") is None
    assert Request("test", {"ckpt_path": 3}).get("ckpt_path") == "3"


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("test -h", "h"),
        ("--help test", "help"),
        ("test --help", "help"),
        ("test --help-all", "help-all"),
        ("fit --data.help MNISTDataModule", "data.help"),
        ("fit --data help", None),
    ],
)
def test_a_wish_for_help_is_noticed(words: str, asked: str | None) -> None:
    assert Request.read(words.split()).help == asked


TABLE_RECIPE = f"--config={recipes()['table']}"


@pytest.mark.parametrize(
    ("words", "args"),
    [
        ("fit --config fast", [f"--config={recipes()['fast']}"]),
        ("fit a.csv", [TABLE_RECIPE, "--data.table=a.csv"]),
        ("fit --model.lr 1 a.csv", [TABLE_RECIPE, "--model.lr=1", "--data.table=a.csv"]),
        ("fit --data.table a.csv", [TABLE_RECIPE, "--data.table=a.csv"]),
        ("fit last.ckpt a.csv", ["--data=TableDataModule", "--ckpt_path=last.ckpt", "--data.table=a.csv"]),
        ("fit a.csv --data TableDataModule", ["--data=TableDataModule", "--data.table=a.csv"]),
        ("test runs/version_3/best.ckpt", ["--ckpt_path=runs/version_3/best.ckpt"]),
        ("test last new.csv", ["--data=TableDataModule", "--ckpt_path=last", "--data.table=new.csv"]),
        ("tune --data.table a.csv", ["--data=TableDataModule", "--data.table=a.csv"]),
        ("predict --data.path a.png", ["--data=ImageFilesDataModule", "--data.path=a.png"]),
        ("fit --data.path shards", ["--data=StreamingDataModule", "--data.path=shards"]),
        ("fit shards", ["--data=StreamingDataModule", "--data.path=shards"]),
        ("test best shards", ["--data=StreamingDataModule", "--ckpt_path=best", "--data.path=shards"]),
        ("optimize a.csv --output shards", ["--data=TableDataModule", "--output=shards", "--data.table=a.csv"]),
        ("predict --list a.txt", ["--data=ImageFilesDataModule", "--data.list_file=a.txt"]),
        ("predict m.ckpt a.png scans", ["--data=ImageFilesDataModule", "--ckpt_path=m.ckpt"]),
        ("predict a.csv", ["--data=TableDataModule", "--data.table=a.csv"]),
        ("predict a.jsonl", ["--data=TableDataModule", "--data.table=a.jsonl"]),
        ("test .", ["--data=TableDataModule", "--data.table=."]),
        ("predict", []),
        ("optimize last", ["--data=TableDataModule", "--data.table=last"]),
        ("fit --help-all", ["--help"]),
    ],
)
@pytest.mark.usefixtures("shards")
def test_short_forms_are_written_out(words: str, args: list[str]) -> None:
    request = Request.read(words.split())
    assert request.args == [words.split()[0], *args]
    assert request.images == (["a.png", "scans"] if "m.ckpt" in words else [])


def test_a_file_goes_before_a_recipe_of_its_name(workplace: Path) -> None:
    Path("fast").write_text("model: {lr: 3}")
    assert Request.read(["fit", "--config", "fast"]).options == {"model.lr": 3}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train", "there is no command train: did you mean fit?"),
        ("fot", "there is no command fot: did you mean fit?"),
        ("xyzzy", "there is no command xyzzy; there are fit, validate, test, predict, tune, export, optimize, demo"),
        ("--model.lr 1 fit", "--model.lr=1 must come after fit"),
        ("--config fast serve", r"--config=\S+fast.yaml must come after serve"),
        ("fit a.csv b.csv", "fit takes one table, got a.csv and b.csv"),
        ("fit a.csv --data.table b.csv", "fit takes one table, got a.csv and b.csv"),
        ("fit shards --data.path others", "fit takes one table, got shards and others"),
        ("fit a.csv shards", "fit takes one table, got a.csv and shards"),
        ("test best last", "test takes one checkpoint, got best and last"),
        ("predict a.csv b.png", "predict takes a table or images, got both: a.csv and b.png"),
        ("export a.png", r"export takes \[CHECKPOINT\] and options, but a.png is none of these"),
        ("fit --config", "--config takes a file or a recipe; recipes are best, fast, "),
        ("fit --config fats", "there is no file fats, and no recipe of this name: did you mean fast?"),
        ("fit --config xyzzy", "there is no file xyzzy, and no recipe of this name; recipes are best, fast, "),
    ],
)
@pytest.mark.usefixtures("shards")
def test_mistakes_name_what_was_meant(words: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        Request.read(words.split())
