"""A run that is killed or stopped at any moment, and resumed, ends bit for bit as one that was not."""

import csv
import gzip
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.crash import differences
from multilabel_pl.cli.main import main
from tests.conftest import BRIEF, QUIET, MakeOnce, copied_run, in_a_process, small, started, wait_for
from tests.data.tagged_images import write_images, write_table, write_tagged

TRAINING = [  # 2 epochs of 5 steps, with much to restore: random shifts, a schedule, running means
    *("fit", *QUIET, "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1"),
    *("--data", "SceneDataModule", "--data.train_size", "290", "--data.val_size", "500", "--data.max_shift", "2"),
    *("--model.network", "conv_stack", "--model.lr_schedule", "one_cycle", "--model.calibrate", "true"),
    *("--last_checkpoint.every_n_train_steps", "3"),
]

UNHARMED = ["--trainer.callbacks", "null"]  # without the strike, which a resumed run would repeat


def strikes(name: str, moment: str, step: int, times: int = 1) -> list[str]:
    """Returns the option that lets a signal strike a run at a moment, once or several times."""
    options = f'{{"name": "{name}", "moment": "{moment}", "step": {step}}}'
    strike = f'{{"class_path": "tests.callbacks.Strike", "init_args": {options}}}'
    return ["--trainer.callbacks", f"[{', '.join([strike] * times)}]"]


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_end(run: Path, whole: Path) -> None:
    for name in ("best.ckpt", "last.ckpt"):
        checkpoints = [torch.load(folder / name, weights_only=True) for folder in (run, whole)]
        assert differences(*checkpoints) == []
    assert rows(run) == rows(whole)


@pytest.fixture(scope="module")
def whole(make_once: MakeOnce) -> Path:
    """The folder of a run that was neither killed nor stopped."""
    return make_once("whole", lambda: main(TRAINING)) / "runs" / "version_0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "moment", "step", "resumed_at"),
    [
        ("SIGKILL", "on_train_batch_end", 4, 3),  # within an epoch
        ("SIGKILL", "on_train_batch_end", 2, None),  # before the first checkpoint
        ("SIGKILL", "on_validation_batch_end", 5, 3),
        ("SIGKILL", "on_train_epoch_start", 5, 5),
        ("full disk", "on_train_epoch_start", 5, 5),  # then while a checkpoint is written
    ],
)
def test_a_killed_run_is_resumed_exactly(
    name: str, moment: str, step: int, resumed_at: int | None, whole: Path, workplace: Path
) -> None:
    killed = in_a_process([*TRAINING, *strikes(name, moment, step)])
    assert killed.returncode == -(signal.SIGXFSZ if name == "full disk" else signal.SIGKILL)
    last = Path("runs/version_0/last.ckpt")
    assert last.exists() == (resumed_at is not None)
    if resumed_at is not None:
        assert torch.load(last, weights_only=True)["global_step"] == resumed_at
    main([*TRAINING, "--ckpt_path", "last", *UNHARMED])
    assert_same_end(Path("runs/version_0"), whole)


@pytest.mark.parametrize(
    ("name", "status", "moment", "step", "stopped_at"),
    [
        ("SIGINT", 130, "on_before_optimizer_step", 1, 2),
        pytest.param("SIGTERM", 143, "on_before_optimizer_step", 1, 2, marks=pytest.mark.slow),
        ("SIGTERM", 143, "on_validation_batch_start", 5, 5),
        pytest.param("SIGTERM", 143, "on_validation_batch_start", 10, 10, marks=pytest.mark.slow),  # the last
        pytest.param("SIGINT", 130, "on_train_epoch_start", 5, 6, marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_a_run_that_is_resumed_exactly(
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
        main([*TRAINING, *strikes(name, moment, step)])
    assert caught.value.code == status
    note = f"note: stopped after step {stopped_at}; to continue, add --ckpt_path last\n"
    assert note in capsys.readouterr().err
    assert torch.load("runs/version_0/last.ckpt", weights_only=True)["global_step"] == stopped_at
    main(["fit", "last", *UNHARMED])  # its options are those of the run
    assert_same_end(Path("runs/version_0"), whole)


def test_a_second_signal_stops_a_run_at_once(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*TRAINING, *strikes("SIGINT", "on_before_optimizer_step", 1, times=2)])
    assert caught.value.code == 130
    assert "note:" not in capsys.readouterr().err
    assert not list(workplace.rglob("*.ckpt"))


def test_a_signal_stops_a_test_at_once(small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied_run(small_run, workplace)
    with pytest.raises(SystemExit) as caught:
        main(["test", *QUIET, *strikes("SIGTERM", "on_test_batch_start", 0)])
    assert caught.value.code == 143
    assert "note:" not in capsys.readouterr().err
    assert not (folder / "test").exists()


@pytest.mark.slow
def test_a_signal_for_all_processes_leaves_the_workers_to_finish(workplace: Path) -> None:
    table = write_tagged(workplace, 60)
    words = ["--data", "TableDataModule", "--data.table", table, "--data.max_memory", "0", "--data.num_workers", "2"]
    more = ["--data.batch_size", "4", "--trainer.max_epochs", "1000", "--last_checkpoint.every_n_train_steps", "3"]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with started(["fit", *QUIET, *words, *more], start_new_session=True, **streams) as fit:
        wait_for(Path("runs/version_0/last.ckpt").exists, fit)
        os.killpg(fit.pid, signal.SIGINT)
        _, errors = fit.communicate()
    assert fit.returncode == 130, errors
    assert b"note: stopped after step " in errors
    assert b"Traceback" not in errors  # none of the workers was stopped


def test_ctrl_c_before_training_leaves_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "multilabel_pl", "fit"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as fit:
        assert fit.stderr is not None
        assert any(b"lightning" in line for line in fit.stderr)  # during the imports
        fit.send_signal(signal.SIGINT)
        _, errors = fit.communicate()
    assert fit.returncode == 130
    assert b"KeyboardInterrupt" not in errors


def test_a_run_that_balances_its_labels_is_resumed_exactly(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", *QUIET, *BRIEF, *small(small_set), "--model.pos_weight", "auto"]
    main([*words, "--trainer.max_epochs", "2"])
    main(words)
    capsys.readouterr()
    main([*words, "--trainer.max_epochs", "2", "--ckpt_path", "last"])
    assert capsys.readouterr().err == ""
    whole, resumed = (torch.load(f"runs/version_{i}/last.ckpt", weights_only=True) for i in range(2))
    assert (whole["state_dict"]["loss.pos_weight"] > 1).all()
    for part in ("state_dict", "optimizer_states", "hyper_parameters", "epoch", "global_step"):
        assert differences(whole[part], resumed[part]) == []


def test_a_resumed_run_keeps_its_options(small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stopping = ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val_loss", "--seed_everything=3"]
    words = [*QUIET, *small(small_set), "--trainer.max_epochs=2", "--trainer.limit_train_batches=2", *stopping]
    main(["fit", *words, "--last_checkpoint.every_n_train_steps=1"])
    options = Path("runs/version_0/config.yaml").read_text(encoding="utf-8")
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["fit", "last"])
    assert caught.value.code == 0
    assert "runs/version_0 is finished: it has done 2 epochs" in capsys.readouterr().out
    assert Path("runs/version_0/config.yaml").read_text(encoding="utf-8") == options
    main(["fit", "last", "--trainer.max_epochs", "3"])
    assert Path("runs/version_0/config.yaml").read_text(encoding="utf-8") == options.replace("epochs: 2", "epochs: 3")
    assert torch.load("runs/version_0/last.ckpt", weights_only=True)["global_step"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("text", ["trainer: 3", "3", f"trainer: {'[' * 5000}", "a: &a 1\nb: *a", "a: 2020-13-45"])
def test_options_that_cannot_be_read_are_named(
    text: str, small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied_run(small_run, workplace)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main(["fit", "last"])
    assert caught.value.code == 2
    expected = "config.yaml is damaged: remove it, and give the options of the run again if it is resumed"
    assert capsys.readouterr().err == f"error: {Path('runs/version_0')}/{expected}\n"


@pytest.mark.slow
def test_other_data_options_in_a_resumed_run_are_reported(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_tagged(workplace, 60)
    words = ["fit", *QUIET, *BRIEF, "--data", "TableDataModule", "--data.table", table]
    main(words)
    main([*words, "--ckpt_path", "last", "--trainer.max_epochs", "2", "--data.num_workers", "0"])
    assert "resuming" not in capsys.readouterr().err
    main([*words, "--ckpt_path", "last", "--trainer.max_epochs", "3", "--data.batch_size", "32"])
    assert "note: resuming with different data options: --data.batch_size 32 (it had 64)\n" in capsys.readouterr().err


def test_other_data_in_a_resumed_run_are_reported(
    small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied_run(small_run, workplace)
    scenes = ["SceneDataModule", "--data.canvas_size=28", "--data.max_digits=1", "--data.train_size=70"]
    words = [*BRIEF, "--trainer.max_epochs", "3", "--ckpt_path", "last"]
    main(["fit", *QUIET, *words, "--data", *scenes, "--data.val_size", "50"])
    expected = "resuming on SceneDataModule, but runs/version_0/last.ckpt was trained on MNISTDataModule"
    assert f"note: {expected}\n" in capsys.readouterr().err


@pytest.mark.slow
def test_changed_images_and_tags_of_a_resumed_run_are_reported(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        [path, "|".join(tags), "val" if i < 20 else "train"]
        for i, (path, tags) in enumerate(write_images(workplace, 60))
    ]
    header = ["path", "tags", "split"]

    def resumed(epochs: int) -> list[str]:
        write_table(workplace / "t.csv", header, rows)
        main(["fit", "last", "--trainer.max_epochs", str(epochs)])
        return [line for line in capsys.readouterr().err.splitlines() if "resuming" in line]

    write_table(workplace / "t.csv", header, rows)
    main(["fit", "t.csv", *QUIET, *BRIEF, "--data.test_size", "0"])
    assert resumed(2) == []
    rows[20], rows[21] = rows[21], rows[20]
    assert resumed(3) == ["note: resuming with other train images: in another order"]
    rows[30][1] += "|9"
    rows[5][1] += "|0"
    del rows[31]
    shutil.copy(rows[40][0], rows[41][0])
    assert resumed(4) == [
        "note: resuming with other train images: 1 new or changed, 2 gone, 1 with other tags",
        "note: resuming with other val images: 1 with other tags",
    ]


def test_changed_files_of_a_resumed_run_are_reported(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_set, "set")
    main(["fit", *QUIET, *BRIEF, *small("set")])
    main(["fit", "last", "--trainer.max_epochs", "2"])
    assert "resuming" not in capsys.readouterr().err
    path = next(Path("set").rglob("train-images*"))
    content = bytearray(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    main(["fit", "last", "--trainer.max_epochs", "3"])
    assert "/set have changed\n" in capsys.readouterr().err
