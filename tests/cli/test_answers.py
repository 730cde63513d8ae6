"""Help and mistakes in names and values: the same words from the parsers and from the options that are kept."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from multilabel_pl import __version__
from multilabel_pl.cli.commands import COMMANDS
from multilabel_pl.cli.description import Description
from multilabel_pl.cli.main import main
from tests.conftest import ROOT

HEAVY = ("torch", "lightning", "jsonargparse", "numpy")
ANSWERED = [
    "fit --help",
    *(pytest.param(f"{command} --help", marks=pytest.mark.slow) for command in COMMANDS if command != "fit"),
    "fit --data TableDataModule --help",
    "fit --data.help",
    "fit --data.help SceneDataModule",
    "fit --model.optimizer.help",
    "fit --model.optimizer.help SGD",
    "fit --model.optimizer.help Adamm",
    "fit --model.haed sigmoid --epochs 3",
    "fit --data.image_size 64",
    "fit --data SceneDataModule --data.train_sise 10",
    "fit --config fast --data.tabel x.csv",
    "test --trainer.acelerator gpu",
    "predict --lits files.txt",
    "serve --prot 80",
    "compare 3 5 --outptu a.md",
    "export --hlaf true",
    "fit --model.head sigmod",
    "fit --model.lr fast --data.val_size many --data.on_device maybe",
    "fit --data SceneDataModule --data.init_args.train_size all",
    "test --figures maybe",
    "serve --port http",
]
NOT_YET = [  # it depends on the checkpoint's data, or the parser is to answer
    "test --data.image_size 64",
    "test --help-all",
    "fit --data.help my.Data",
    "fit --data.tabel x.csv --ckpt_path best",
    "fit --data.val_size many --ckpt_path best",
    "fit --model.calibrate yes --model.lr .inf --trainer.max_epochs null --trainer.precision 8",
]


def heavy_imports(command: str) -> tuple[int | None, list[str], str]:
    """Answers in a new process; returns the status, which of the slow packages were imported, and what was printed."""
    code = (
        "import sys\n"
        "from multilabel_pl.cli.answers import read_request\n"
        "status = None\n"
        "try:\n    read_request()\n"
        "except SystemExit as end:\n    status = end.code\n"
        f"print([status, [name for name in {HEAVY} if name in sys.modules]])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", code, *shlex.split(command)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    *printed, last = done.stdout.splitlines()
    status, imports = json.loads(last.replace("'", '"').replace("None", "null"))
    return status, imports, "\n".join([*printed, *done.stderr.splitlines()])


@pytest.fixture
def cache(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for descriptions."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    return workplace / "cache" / "multilabel_pl"


def answered(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Runs a command, which ends the program; returns the status and what is printed."""
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(command))
    return (caught.value.code, *capsys.readouterr())


@pytest.mark.parametrize("command", ANSWERED)
def test_what_is_kept_answers_like_the_parsers(
    command: str, cache: Path, small_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if command.startswith(("test", "predict", "export")):  # the parser's answer takes a checkpoint
        command = f"{command} --ckpt_path {small_run / 'best.ckpt'}"
    status, out, err = answered(command, capsys)
    assert Description.read().commands.keys() == {command.split()[0]}
    out = "\n".join(line for line in out.splitlines() if not line.startswith(("using ", "using the recipe ")))
    again_status, again_out, again_err = answered(command, capsys)
    assert (again_status, again_out.strip(), again_err) == (status, out.strip(), err)
    assert heavy_imports(command) == (status, [], "\n".join([*again_out.splitlines(), *again_err.splitlines()]))


def test_help_and_the_version_may_be_asked_for_before_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert answered("--help serve", capsys) == answered("serve --help", capsys)
    assert answered("--version serve", capsys) == (0, f"multilabel_pl {__version__}\n", "")


@pytest.mark.parametrize("words", [["fit"], ["fit", "--config"]])
def test_a_name_that_no_file_can_have_is_a_mistake(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    name = "x" * 5_000
    with pytest.raises(SystemExit) as caught:
        main([*words, name])
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {name}")
    assert line.endswith(": File name too long")


def test_what_needs_more_is_left_to_the_parsers(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for known in ("fit", "test"):
        answered(f"{known} --help", capsys)
    assert {command: heavy_imports(command) for command in NOT_YET} == dict.fromkeys(NOT_YET, (None, [], ""))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"versions": 3}', '{"versions": "VERSIONS", "commands": 3}'])
def test_a_description_that_is_damaged_or_of_other_versions_is_written_again(
    content: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    help_text = answered("serve --help", capsys)
    [path] = cache.iterdir()
    versions = json.loads(path.read_text(encoding="utf-8"))["versions"]
    path.write_text(content.replace("VERSIONS", versions), encoding="utf-8")
    assert Description.read() == Description()
    assert answered("serve --help", capsys) == help_text
    assert "serve" in Description.read().commands


def test_without_a_place_nothing_is_kept(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "file"))
    expected = answered("serve --help", capsys)
    assert expected[0] == 0
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as for a user without an account, in a container
    with pytest.raises(RuntimeError):
        Path.home()
    assert answered("serve --help", capsys) == expected
