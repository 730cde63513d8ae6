"""A training that is ended at any moment and resumed comes to the same end, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from crash import differences

from multilabel_pl.cli.main import main
from tests.conftest import BRIEF, QUIET, in_a_process
from tests.data.pictures import write_tagged

TRAINING = [  # of 2 epochs of 5 steps, in which there is something to forget: random shifts, a schedule, running means
    *("fit", *QUIET, "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1"),
    *("--data", "SceneDataModule", "--data.train_size", "290", "--data.val_size", "500", "--data.max_shift", "2"),
    *("--model.network", "conv_stack", "--model.lr_schedule", "one_cycle", "--model.calibrate", "true"),
    *("--last_checkpoint.every_n_train_steps", "3"),
]


def struck(name: str, moment: str, step: int) -> list[str]:
    options = f'{{"name": "{name}", "moment": "{moment}", "step": {step}}}'
    return [*TRAINING, "--trainer.callbacks", f'[{{"class_path": "tests.callbacks.Strike", "init_args": {options}}}]']


def assert_same_end(run: Path, whole: Path) -> None:
    for name in ("best.ckpt", "last.ckpt"):
        checkpoints = [torch.load(folder / name, weights_only=True) for folder in (run, whole)]
        assert differences(*checkpoints) == []
    assert (run / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, _no_command_line: None) -> Path:
    """The run of a training that nothing has ended."""
    place = tmp_path_factory.mktemp("whole")
    with chdir(place):
        main(TRAINING)
    return place / "runs" / "version_0"


@pytest.mark.parametrize(
    ("name", "moment", "step", "resumed_at"),
    [
        ("SIGKILL", "on_train_batch_end", 2, None),  # before there is a checkpoint
        ("SIGKILL", "on_train_batch_end", 4, 3),  # in mid-epoch
        ("SIGKILL", "on_validation_batch_end", 5, 3),
        ("SIGKILL", "on_train_epoch_start", 5, 5),
        ("full disk", "on_train_epoch_start", 5, 5),  # then while a checkpoint is written
    ],
)
def test_a_killed_training_is_resumed_exactly(
    name: str, moment: str, step: int, resumed_at: int | None, whole: Path, workplace: Path
) -> None:
    ended = in_a_process(struck(name, moment, step))
    assert -ended.returncode == (signal.SIGXFSZ if name == "full disk" else signal.SIGKILL), ended.stderr
    last = Path("runs/version_0/last.ckpt")
    if resumed_at is not None:
        assert torch.load(last, weights_only=True)["global_step"] == resumed_at
    main([*TRAINING, "--ckpt_path", "last"])
    assert_same_end(Path("runs/version_0"), whole)


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize(
    ("moment", "step", "stopped_at"),
    [("on_before_optimizer_step", 1, 2), ("on_validation_batch_start", 5, 5), ("on_train_epoch_start", 5, 6)],
)
def test_a_signal_stops_a_training_that_is_resumed_exactly(
    name: str,
    status: int,
    moment: str,
    step: int,
    stopped_at: int,
    whole: Path,
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(struck(name, moment, step))
    assert caught.value.code == status
    assert f"stopped after step {stopped_at}; to go on, add --ckpt_path last" in capsys.readouterr().err
    assert torch.load("runs/version_0/last.ckpt", weights_only=True)["global_step"] == stopped_at
    main([*TRAINING, "--ckpt_path", "last"])
    assert_same_end(Path("runs/version_0"), whole)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_for_all_processes_leaves_the_workers_to_finish(
    number: signal.Signals, status: int, workplace: Path
) -> None:
    table = write_tagged(workplace, 60)
    words = ["--data", "TableDataModule", "--data.table", table, "--data.max_memory", "0", "--data.num_workers", "2"]
    more = ["--data.batch_size", "4", "--trainer.max_epochs", "1000", "--last_checkpoint.every_n_train_steps", "3"]
    command = [sys.executable, "-m", "multilabel_pl", "fit", *QUIET, *words, *more]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as fit:
        while not Path("runs/version_0/last.ckpt").exists():
            assert fit.poll() is None
            time.sleep(0.1)
        os.killpg(fit.pid, number)
        _, told = fit.communicate()
    assert fit.returncode == status, told
    assert told.startswith(b"note: stopped after step ")


def test_ctrl_c_before_a_training_is_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "multilabel_pl", "fit"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as fit:
        assert fit.stderr is not None
        assert any(b"lightning" in line for line in fit.stderr)  # in the midst of the imports
        fit.send_signal(signal.SIGINT)
        _, told = fit.communicate()
    assert fit.returncode == 130
    assert b"KeyboardInterrupt" not in told


def test_a_training_that_goes_on_with_other_data_says_so(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_tagged(workplace, 60)
    words = ["fit", *QUIET, *BRIEF, "--data", "TableDataModule", "--data.table", table]
    main(words)
    main([*words, "--ckpt_path", "last", "--trainer.max_epochs", "2", "--data.num_workers", "0"])
    assert "otherwise" not in capsys.readouterr().err
    main([*words, "--ckpt_path", "last", "--trainer.max_epochs", "3", "--data.batch_size", "32"])
    expected = "runs/version_0/last.ckpt goes on otherwise than it began, with --data.batch_size 32 (it had 64)"
    assert f"note: {expected}\n" in capsys.readouterr().err
