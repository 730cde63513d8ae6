"""What the tests share: a clean process, and one short training for each head."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from multilabel_pl.cli.main import main
from multilabel_pl.model.head import HeadName

ROOT = Path(__file__).parents[1]
# `pytest --hypothesis-profile thorough` tries a hundred times as many examples of every property.
settings.register_profile("thorough", max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
BRIEF = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3", "--trainer.log_every_n_steps", "1"]
SHORT = [*QUIET, "--trainer.max_epochs", "2", "--trainer.limit_train_batches", "100"]


def in_a_process(words: Sequence[str], launcher: Sequence[str] = (sys.executable,)) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [*launcher, "-m", "multilabel_pl", *words]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True, scope="session")
def _no_command_line() -> Iterator[None]:
    """Lightning compares `main`'s words with the process's own, which are pytest's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["multilabel_pl"])
        yield


@pytest.fixture(autouse=True)
def _clean_environment() -> Iterator[None]:
    """Lightning's seed_everything leaves variables behind."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, _no_command_line: None) -> dict[HeadName, Path]:
    """The run folders of one short training for each head."""
    folders: dict[HeadName, Path] = {}
    heads: list[HeadName] = ["sigmoid", "softmax"]
    for head in heads:
        place = tmp_path_factory.mktemp(head)
        with chdir(place):
            main(["fit", "--model.head", head, *SHORT])
        folders[head] = place / "runs" / "version_0"
    return folders


@pytest.fixture(scope="session")
def run_folder(runs: dict[HeadName, Path]) -> Path:
    """The run folder of the sigmoid head's short training; not to be written into."""
    return runs["sigmoid"]


@pytest.fixture
def checkpoint(run_folder: Path) -> str:
    return str(run_folder / "best.ckpt")


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Path]:
    """An empty current folder."""
    with chdir(tmp_path):
        yield tmp_path
