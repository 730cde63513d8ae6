"""Fixtures shared by the tests: a clean process, and one short training run for each head.

PyTorch and Lightning are imported in functions: the main process of pytest-xdist, which runs no test, reads this file
before it starts those that do.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from multilabel_pl.model.head import HeadName

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
# `pytest --hypothesis-profile thorough` tries a hundred times as many examples of every property, `make test` a fifth.
settings.register_profile("quick", max_examples=20)
settings.register_profile("thorough", max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
BRIEF = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3", "--trainer.log_every_n_steps", "1"]
STACK = [
    *("--model.network", "conv_stack", "--model.lr_schedule", "one_cycle"),
    *("--trainer.callbacks", '[{"class_path": "EarlyStopping", "init_args": {"monitor": "val_loss"}}]'),
]
SHORT = ["--trainer.max_epochs", "2", "--trainer.limit_train_batches", "100"]

# One thread in each process of the tests, unless said otherwise: they run side by side, and small networks gain nothing
# from more. It is read as PyTorch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in a job in the background; the processes under test inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def in_a_process(words: Sequence[str], launcher: Sequence[str] = (sys.executable,)) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own."""
    return subprocess.run(**_process_of(words, launcher), capture_output=True, text=True, check=False)


def started(words: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Starts the command line in a process of its own, by the options of `subprocess.Popen`.

    A copy of this process, by `fork`, might wait for a thread that it has not: some libraries start threads.
    """
    return subprocess.Popen(**_process_of(words, [sys.executable]), **options)


def wait_for(find: Callable[[], T | None], process: subprocess.Popen[Any]) -> T:
    """Returns what a process brings about, once it is found, and fails if the process ends before."""
    while not (found := find()):
        assert process.poll() is None
        time.sleep(0.01)
    return found


def _process_of(words: Sequence[str], launcher: Sequence[str]) -> dict[str, Any]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {"args": [*launcher, "-m", "multilabel_pl", *words], "env": {**os.environ, "PYTHONPATH": path}}


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


MakeOnce = Callable[[str, Callable[[], object]], Path]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory, _no_command_line: None) -> MakeOnce:
    """Returns a function that makes a folder of a name, in the folder itself, in the first process that needs it.

    The folder is not to be written into later, as the processes that run the tests side by side share it.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # that of all workers

    def once(name: str, make: Callable[[], object]) -> Path:
        place, is_made = root / name, root / f"{name}.made"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            if not is_made.exists():
                shutil.rmtree(place, ignore_errors=True)  # of a process that failed
                place.mkdir()
                with chdir(place):
                    make()
                is_made.touch()
        return place

    return once


def a_run(make_once: MakeOnce, name: str, *words: str) -> Path:
    """Trains once, quietly, and returns the folder of the run."""
    from multilabel_pl.cli.main import main

    return make_once(name, lambda: main(["fit", *QUIET, *words])) / "runs" / "version_0"


@pytest.fixture(scope="session")
def run_folder(make_once: MakeOnce) -> Path:
    """The run folder of a short training run of the sigmoid head; not to be written into."""
    return a_run(make_once, "sigmoid", "--model.head", "sigmoid", *SHORT)


@pytest.fixture(scope="session")
def runs(run_folder: Path, make_once: MakeOnce) -> "dict[HeadName, Path]":
    """The run folders of a short training run for each head; not to be written into."""
    words = ["--model.head", "softmax", *SHORT, "--data.val_size", "1000"]
    return {"sigmoid": run_folder, "softmax": a_run(make_once, "softmax", *words)}


@pytest.fixture
def checkpoint(run_folder: Path) -> str:
    return str(run_folder / "best.ckpt")


@pytest.fixture(scope="session")
def small_set(make_once: MakeOnce) -> str:
    """A folder of 600 training and 300 test images of MNIST, in its format; for `--data.data_dir`."""
    return str(make_once("small_set", write_small_set))


def write_small_set() -> None:
    import torch

    from multilabel_pl.data.mnist import ARCHIVES, FILES, NUM_DIGITS, read_digits

    digits = read_digits(ARCHIVES, "test")
    values = digits.targets[:, :NUM_DIGITS].argmax(dim=1).to(torch.uint8)
    for split, chosen in (("train", slice(0, 600)), ("test", slice(600, 900))):
        for name, content in zip(FILES[split], (digits.images[chosen, 0], values[chosen]), strict=True):
            sizes = b"".join(size.to_bytes(4, "big") for size in content.shape)
            Path(name).write_bytes(bytes([0, 0, 8, content.ndim]) + sizes + content.numpy().tobytes())


@pytest.fixture(scope="session")
def small_run(small_set: str, make_once: MakeOnce) -> Path:
    """The run folder of six steps, in two epochs, on the small set; not to be written into."""
    return a_run(make_once, "small_run", *BRIEF, *small(small_set), "--trainer.max_epochs", "2")


@pytest.fixture(scope="session")
def stack_run(small_set: str, make_once: MakeOnce) -> Path:
    """The run folder of six steps with much to restore: a schedule, running means, early stopping."""
    return a_run(make_once, "stack_run", *BRIEF, *small(small_set), *STACK, "--trainer.max_epochs", "2")


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Path]:
    """An empty current folder."""
    with chdir(tmp_path):
        yield tmp_path
