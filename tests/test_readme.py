"""The README is true: its Python and its commands run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from tests.conftest import BRIEF, QUIET
from tests.data.tagged_images import write_tagged
from tests.images.photograph import photograph

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = "".join(blocks("sh")).splitlines()
    return [line for line in lines if line.startswith("python -m multilabel_pl")]


@pytest.fixture
def readers_folder(workplace: Path, run_folder: Path) -> Path:
    """The folder of a reader who has trained once, calibrated the model, and has two photographs."""
    run = workplace / "runs" / "version_0"
    run.mkdir(parents=True)
    (workplace / "calibrated").mkdir()
    for path in (run / "best.ckpt", run / "last.ckpt", workplace / "calibrated" / "model.ckpt"):
        path.write_bytes((run_folder / "best.ckpt").read_bytes())
    (workplace / "scans").mkdir()
    for name in ("a.jpg", "b.png"):
        digit = read_digits(ARCHIVES, "test").images[0]
        (workplace / "scans" / name).write_bytes(photograph(digit, np.random.default_rng(0)))
    (workplace / "configs").symlink_to(ROOT / "configs")
    return workplace


def test_the_python_runs_and_names_tags(readers_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("model.onnx", "model.pt2"):
        main(["export", "--ckpt_path", "best", "--output", name])
    exec("\n".join(blocks("python")), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("exported: ['7', '≥5']") == 2
    tagged = [line for line in lines if line.startswith("[")]
    assert len(tagged) == 3
    assert sum(line.startswith("7 (") for line in lines) == 2
    assert tagged[0].startswith("['7', '≥5'] 0.9")


def test_there_are_commands() -> None:
    assert {command.split()[3] for command in commands()} == {"fit", "test", "predict", "tune", "export"}


@pytest.mark.parametrize("command", commands())
def test_the_commands_run(command: str, readers_folder: Path) -> None:
    words = shlex.split(command, comments=True)[3:]
    if "scenes.csv" in command or "images" in words:
        write_tagged(readers_folder, 60, name="scenes.csv")
    if words[0] == "predict":  # by MNIST's model, which finds no digit in some
        for path in Path("images").glob("*.png"):
            if Image.open(path).getbbox() is None:
                path.unlink()
    if any("help" in word for word in words):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
        return
    resumed = words[-1] == "last"
    more = {"fit": BRIEF, "test": ["--figures", "false"], "tune": ["--figures", "false"]}.get(words[0], [])
    if "SceneDataModule" in words:  # few: how long many take is not the subject
        more = [*more, "--data.train_size", "200", "--data.val_size", "50"]
    main([*words, *QUIET, *more, *(["--trainer.max_epochs", "3"] if resumed else [])])
    produced = {
        "fit": "runs/version_0/metrics.csv" if resumed else "runs/version_1/last.ckpt",
        "tune": words[words.index("--output") + 1] if "--output" in words else "",
        "test": "**/test/report.md",
        "export": words[words.index("--output") + 1] if "--output" in words else "runs/version_0/best.onnx",
        "predict": words[words.index("--output") + 1] if "--output" in words else "**/predict/predictions.csv",
    }
    assert list(readers_folder.glob(produced[words[0]]))


def test_every_file_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", README):
        assert (ROOT / target).is_file(), target
