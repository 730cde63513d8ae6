import gc
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from multilabel_pl.cli.main import main
from multilabel_pl.cli.request import Request
from multilabel_pl.errors import InputError
from multilabel_pl.training.runs import find_checkpoint, make_run
from tests.conftest import BRIEF, QUIET, in_a_process, small, started, wait_for


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_versions_count_up_from_zero_by_number(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    assert make_run(root) == (root / "version_0", 0)
    make(root, "version_9/last.ckpt", "version_10/last.ckpt", "version_x/last.ckpt", "notes.txt")
    assert make_run(root) == (root / "version_11", 11)
    assert make_run(root) == (root / "version_12", 12)


def test_runs_that_start_at_once_get_a_folder_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as processes:
        versions = [run.version for run in processes.map(make_run, [tmp_path / "runs"] * 20)]
    assert sorted(versions) == list(range(20))


def test_the_newest_run_with_a_checkpoint_counts(tmp_path: Path) -> None:
    make(tmp_path, "version_2/best.ckpt", "version_2/last.ckpt", "version_10/best.ckpt", "version_10/last.ckpt")
    make(tmp_path, "version_11/config.yaml")
    assert find_checkpoint(tmp_path, "best") == tmp_path / "version_10" / "best.ckpt"
    assert find_checkpoint(tmp_path, "last") == tmp_path / "version_10" / "last.ckpt"


def test_last_stands_in_for_best(tmp_path: Path) -> None:
    make(tmp_path, "version_0/best.ckpt", "version_1/last.ckpt")
    assert find_checkpoint(tmp_path, "best") == tmp_path / "version_1" / "last.ckpt"


def test_a_folder_of_runs_may_be_nothing_else(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    Path("link").symlink_to("nowhere")
    for root in ("file", "link"):
        with pytest.raises(SystemExit) as caught:
            main(["fit", *QUIET, "--trainer.default_root_dir", root])
        assert caught.value.code == 2
        remedy = "delete it, or name one by --trainer.default_root_dir"
        assert capsys.readouterr().err == f"error: {root} is no folder, or a link to none: {remedy}\n"


@pytest.mark.slow
def test_a_run_is_written_to_by_one_process(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = [*QUIET, *small(small_set), "--trainer.max_epochs", "100000"]
    last = Path("runs/version_0/last.ckpt")
    with started(["fit", *training], stdout=subprocess.DEVNULL) as fit:
        wait_for(last.exists, fit)
        with pytest.raises(SystemExit) as caught:
            main(["fit", "last"])
        fit.kill()
    assert caught.value.code == 2
    del caught
    gc.collect()  # which would find an open lock
    owner = f"process {fit.pid} on {socket.gethostname()}"
    assert capsys.readouterr().err == f"error: runs/version_0 is being written to by {owner}: wait for it\n"
    (last.parent / ".partial-of-a-kill.ckpt").touch()
    step = torch.load(last, weights_only=True)["global_step"]
    main(["fit", "last", "--trainer.max_steps", str(step + 1)])  # a killed process has released it
    assert torch.load(last, weights_only=True)["global_step"] == step + 1
    assert list(last.parent.glob(".partial*")) == []


@pytest.mark.slow
def test_a_run_whose_folder_is_deleted_ends(small_set: str, workplace: Path) -> None:
    delete = '{"class_path": "tests.callbacks.Delete", "init_args": {"folder": "runs/version_0", "step": 2}}'
    done = in_a_process(["fit", *QUIET, *small(small_set), *BRIEF, "--trainer.callbacks", delete])
    assert (done.returncode, done.stderr) == (2, "error: runs/version_0 was deleted during the run\n")
    assert list(Path("runs").iterdir()) == []


def test_more_processes_than_cores_must_be_asked_for_twice(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = ["--trainer.accelerator", "cpu", "--trainer.devices", "99"]
    with pytest.raises(SystemExit) as caught:
        main(["fit", *QUIET, *small(small_set), *devices])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: 99 processes on ")
    assert Request.read(["fit", *devices, *devices]).insists


def test_without_runs_there_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run fit first"):
        find_checkpoint(tmp_path / "runs", "best")
