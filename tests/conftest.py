"""Fixtures shared by the tests: a clean process, and one short training run for each head."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, FILES, NUM_DIGITS, read_digits
from multilabel_pl.model.head import HeadName

ROOT = Path(__file__).parents[1]
# `pytest --hypothesis-profile thorough` tries a hundred times as many examples of every property.
settings.register_profile("thorough", max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
BRIEF = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3", "--trainer.log_every_n_steps", "1"]
STACK = [
    *("--model.network", "conv_stack", "--model.lr_schedule", "one_cycle"),
    *("--trainer.callbacks", '[{"class_path": "EarlyStopping", "init_args": {"monitor": "val_loss"}}]'),
]
SHORT = [*QUIET, "--trainer.max_epochs", "2", "--trainer.limit_train_batches", "100"]

# One thread in each process of the tests, unless said otherwise: they run side by side, and small networks gain nothing
# from more.
torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in a job in the background; the processes under test inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own descriptions of options stay as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _clean_environment() -> Iterator[None]:
    """Lightning's seed_everything leaves variables behind."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def small(data_dir: str) -> list[str]:
    """Returns the options that train on most images of a small set and validate on some."""
    return ["--data.data_dir", data_dir, "--data.val_size", "100"]


def copied_run(run_folder: Path, root: Path) -> Path:
    """Copies the checkpoints and the curves of a run into the folder runs, and returns the new run folder."""
    folder = root / "runs" / "version_0"
    folder.mkdir(parents=True)
    for name in ("best.ckpt", "last.ckpt", "metrics.csv"):
        shutil.copy(run_folder / name, folder)
    return folder


def short_run(head: HeadName, place: Path) -> Path:
    """Trains for two short epochs in a folder and returns that of the run."""
    with chdir(place):
        main(["fit", "--model.head", head, *SHORT])
    return place / "runs" / "version_0"


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, _no_command_line: None) -> Path:
    """The run folder of a short training run of the sigmoid head; not to be written into."""
    return short_run("sigmoid", tmp_path_factory.mktemp("sigmoid"))


@pytest.fixture(scope="session")
def runs(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[HeadName, Path]:
    """The run folders of a short training run for each head; not to be written into."""
    return {"sigmoid": run_folder, "softmax": short_run("softmax", tmp_path_factory.mktemp("softmax"))}


@pytest.fixture
def checkpoint(run_folder: Path) -> str:
    return str(run_folder / "best.ckpt")


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of 600 training and 300 test images of MNIST, in its format; for `--data.data_dir`."""
    folder = tmp_path_factory.mktemp("small_set")
    digits = read_digits(ARCHIVES, "test")
    values = digits.targets[:, :NUM_DIGITS].argmax(dim=1).to(torch.uint8)
    for split, chosen in (("train", slice(0, 600)), ("test", slice(600, 900))):
        for name, content in zip(FILES[split], (digits.images[chosen, 0], values[chosen]), strict=True):
            sizes = b"".join(size.to_bytes(4, "big") for size in content.shape)
            (folder / name).write_bytes(bytes([0, 0, 8, content.ndim]) + sizes + content.numpy().tobytes())
    return str(folder)


@pytest.fixture(scope="session")
def small_run(small_set: str, tmp_path_factory: pytest.TempPathFactory, _no_command_line: None) -> Path:
    """The run folder of six steps, in two epochs, on the small set; not to be written into."""
    place = tmp_path_factory.mktemp("small_run")
    with chdir(place):
        main(["fit", *QUIET, *BRIEF, *small(small_set), "--trainer.max_epochs", "2"])
    return place / "runs" / "version_0"


@pytest.fixture(scope="session")
def stack_run(small_set: str, tmp_path_factory: pytest.TempPathFactory, _no_command_line: None) -> Path:
    """The run folder of six steps with much to restore: a schedule, running means, early stopping."""
    place = tmp_path_factory.mktemp("stack_run")
    with chdir(place):
        main(["fit", *QUIET, *BRIEF, *small(small_set), *STACK, "--trainer.max_epochs", "2"])
    return place / "runs" / "version_0"


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Path]:
    """An empty current folder."""
    with chdir(tmp_path):
        yield tmp_path
