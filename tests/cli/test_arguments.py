"""What is known of a command line before its options are parsed."""

import sys
from pathlib import Path
from typing import Any

import pytest

from multilabel_pl.cli.arguments import Request

SUBCOMMANDS = ("fit", "test")
CONFIG = "model: {head: softmax, lr: 0.5}\nckpt_path: null\ndata: SceneDataModule\n"


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("test", {}),
        ("test --ckpt_path last --figures false", {"ckpt_path": "last", "figures": "false"}),
        ("test --ckpt_path=last --data.path=a=b", {"ckpt_path": "last", "data.path": "a=b"}),
        ("test --ckpt_path last --ckpt_path=best", {"ckpt_path": "best"}),
        ("test --verbose --ckpt_path", {"verbose": "--ckpt_path", "ckpt_path": ""}),
        ("--seed_everything 3 test --ckpt_path last", {"ckpt_path": "last"}),
    ],
)
def test_options_are_read_from_words(words: str, options: dict[str, Any]) -> None:
    assert Request.read(words.split(), SUBCOMMANDS) == Request("test", options)


@pytest.mark.parametrize("words", [[], ["--help"], ["learn", "--ckpt_path", "last"]])
def test_without_a_known_subcommand_nothing_is_read(words: list[str]) -> None:
    assert Request.read(words, SUBCOMMANDS) == Request(None, {})


def test_the_words_of_the_process_are_read_if_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["multilabel_pl", "test", "--ckpt_path", "last"])
    assert Request.read(None, SUBCOMMANDS) == Request("test", {"ckpt_path": "last"})


@pytest.mark.parametrize("words", ["fit --config c.yaml", "fit --config=c.yaml", "fit -c c.yaml"])
def test_options_are_read_from_configuration_files(words: str, workplace: Path) -> None:
    Path("c.yaml").write_text(CONFIG)
    request = Request.read(words.split(), SUBCOMMANDS)
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
    assert Request.read(words.split(), SUBCOMMANDS).options["model.head"] == head


@pytest.mark.parametrize("content", [b"model: [lr\n", b"- model\n", b"hello", b"\xff\xfe", None])
def test_mistakes_in_configuration_files_are_left_to_the_parser(content: bytes | None, workplace: Path) -> None:
    if content is not None:
        Path("c.yaml").write_bytes(content)
    words = ["fit", "--config", "c.yaml", "--ckpt_path", "last"]
    assert Request.read(words, SUBCOMMANDS) == Request("fit", {"ckpt_path": "last"})


def test_options_are_read_from_a_dictionary() -> None:
    given = {"test": {"ckpt_path": "last", "trainer": {"default_root_dir": "elsewhere", "callbacks": {}}}}
    options = {"ckpt_path": "last", "trainer.default_root_dir": "elsewhere", "trainer.callbacks": {}}
    assert Request.read(given, SUBCOMMANDS) == Request("test", options)
    assert Request.read({"seed_everything": 3}, SUBCOMMANDS) == Request(None, {})


@pytest.mark.parametrize("value", ["null", None])
def test_null_is_as_good_as_not_given(value: str | None) -> None:
    assert Request("test", {"ckpt_path": value}).get("ckpt_path") is None
    assert Request("test", {}).get("ckpt_path") is None
    assert Request("test", {"ckpt_path": 3}).get("ckpt_path") == "3"


@pytest.mark.parametrize(
    ("words", "asks"),
    [("test -h", True), ("test --help", True), ("fit --data.help MNISTDataModule", True), ("fit --data help", False)],
)
def test_a_wish_for_help_is_noticed(words: str, asks: bool) -> None:
    assert Request.read(words.split(), SUBCOMMANDS).asks_for_help is asks
