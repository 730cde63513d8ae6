"""The README and the manual are true: their Python and their commands run."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from tests.conftest import BRIEF, QUIET
from tests.data.tagged_images import write_tagged
from tests.images.photograph import photograph
from tests.pages import PAGES, ROOT, blocks

TABLES = ("scenes.csv", "images.csv")
EXPORTED = ("model.onnx", "model.pt2")


def commands(pages: Iterable[str] = PAGES) -> list[str]:
    """Returns the commands of pages, each once."""
    lines = "".join(block for page in pages for block in blocks(page, "sh")).splitlines()
    found = (line.partition("#")[0].strip() for line in lines if line.startswith("python -m multilabel_pl"))
    return list(dict.fromkeys(found))


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


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_runs_and_names_tags(
    page: str, readers_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(readers_folder)  # as for a file that is run there
    source = "\n".join(blocks(page, "python"))
    for name in EXPORTED:
        if name in source:
            main(["export", "--ckpt_path", "best", "--output", name])
    exec(source, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("exported: ['7', '≥5']") == source.count("# ['7', '≥5']")
    assert sum(line.startswith("7 (") for line in lines) == 2 * source.count("# 7 (1.000), ≥5 (1.000)")
    tagged = [line for line in lines if line.startswith("[")]
    assert len(tagged) == 3 * source.count("print(prediction.tags")
    assert all(line.startswith("['7', '≥5'] 0.9") for line in tagged[:1])


def test_there_is_python_and_commands() -> None:
    source = "\n".join(block for page in PAGES for block in blocks(page, "python"))
    expected = ("# ['7', '≥5']", "# 7 (1.000), ≥5 (1.000)", "print(prediction.tags", "Image.fromarray")
    assert [words for words in expected if words not in source] == []
    assert {command.split()[3] for command in commands()} == {"fit", "test", "predict", "tune", "export"}


# `export` is also run in tests/export.
OF_README = [command for command in commands(["README.md"]) if not command.endswith(" export")]


@pytest.mark.parametrize(
    "command",
    [pytest.param(command, marks=() if command in OF_README else pytest.mark.slow) for command in commands()],
)
def test_the_commands_run(command: str, readers_folder: Path) -> None:
    words = shlex.split(command)[3:]
    for name in TABLES:
        if name in words or "images" in words:
            write_tagged(readers_folder, 60, name=name)
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
    plain = [] if "--explain" in words else ["--figures", "false"]
    more = {"fit": BRIEF, "test": plain, "tune": plain}.get(words[0], [])
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


def test_commands_that_are_not_run_are_known() -> None:
    """A command in a block of text can't run here: it takes what a test has not, or never ends."""
    lines = "".join(block for page in PAGES for block in blocks(page, "text")).splitlines()
    unrun = [line for line in lines if re.search(r"(^|srun )python -m multilabel_pl", line)]
    known = (
        "demo",
        "serve",
        "compare",
        "--trainer.strategy ddp",
        "photos.csv",
        "fresh.csv",
        "srun",
        "shards/",
        "Logger",
    )
    assert [line for line in unrun if not any(word in line for word in known)] == []
