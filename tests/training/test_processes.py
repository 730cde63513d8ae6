"""Several processes train, evaluate and predict as one."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import LABELS
from tests.conftest import BRIEF, QUIET, copied_run, in_a_process, small, started, wait_for
from tests.data.tagged_images import write_tagged

DDP = ["--trainer.strategy", "ddp", "--trainer.accelerator", "cpu", "--trainer.devices"]


def losses(run: str) -> list[float]:
    with Path(run, "metrics.csv").open() as file:
        return [float(row["val_loss"]) for row in csv.DictReader(file) if row["val_loss"]]


@pytest.mark.slow
def test_two_processes_train_as_one_with_batches_of_twice_the_size(small_set: str, workplace: Path) -> None:
    data = ["--data.data_dir", small_set, "--data.val_size", "101", "--trainer.limit_train_batches", "4"]
    words = ["fit", *QUIET, "--trainer.max_epochs", "2", "--model.calibrate", "true", *data, "--data.batch_size"]
    main([*words, "64"])
    record = ["--trainer.callbacks", "tests.callbacks.Record"]
    ended = in_a_process([*words, "32", *DDP, "2", *record])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(losses("runs/version_0")) == 2
    assert losses("runs/version_1") == pytest.approx(losses("runs/version_0"), rel=1e-3)
    thresholds = [torch.load(f"thresholds_{rank}.pt") for rank in range(2)]
    assert torch.equal(*thresholds)
    checkpoint = torch.load("runs/version_1/last.ckpt", weights_only=True)
    assert torch.equal(checkpoint["state_dict"]["decision.thresholds"], thresholds[0])


@pytest.mark.slow
def test_four_processes_count_every_test_image_once(small_run: Path, small_set: str, workplace: Path) -> None:
    copied_run(small_run, workplace)
    words = ["test", *QUIET, "--figures", "false", "--data.eval_batch_size", "50"]
    metrics = []
    for more in ([], [*DDP, "4", *DDP[-1:], "4"]):  # 300 images make 6 batches, which can't be shared evenly
        ended = in_a_process([*words, *more])
        assert (ended.returncode, ended.stderr) == (0, "")
        metrics.append(json.loads(Path("runs/version_0/test/metrics.json").read_text()))
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-6)


def same_tables(one: str, other: str) -> None:
    """Checks that two tables differ at most by how their processes round."""
    tables = []
    for path in (one, other):
        with Path(path).open(encoding="utf-8", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    assert tables[0]
    for first, second in zip(*tables, strict=True):
        assert first.keys() == second.keys()
        for name, value in first.items():
            expected = pytest.approx(float(value), abs=1e-5) if name in LABELS and value else value
            found = second[name]
            assert (float(found) if name in LABELS and found else found) == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["labelled images", "files"])
def test_three_processes_predict_one_table_in_order(kind: str, checkpoint: str, workplace: Path) -> None:
    words = ["--trainer.limit_predict_batches", "2"]  # of 250 images, in each process
    if kind == "files":
        Path("scans").mkdir()
        for i in range(7):
            shutil.copy(Path(__file__).parents[2] / "docs" / "prediction.png", f"scans/{i}.png")
        Path("scans/3.png").write_text("no image")
        words = ["--data", "ImageFilesDataModule", "--data.path", "scans", "--data.batch_size", "2"]
    ended = in_a_process(
        ["predict", *QUIET, "--ckpt_path", checkpoint, "--output", "shared.csv", *DDP, "3", *DDP[-1:], "3", *words]
    )
    assert ended.returncode == (1 if kind == "files" else 0), ended.stderr
    if kind == "labelled images":
        words = ["--trainer.limit_predict_batches", "6"]
    alone = in_a_process(["predict", *QUIET, "--ckpt_path", checkpoint, "--output", "alone.csv", *words])
    assert ended.stderr == alone.stderr
    same_tables("shared.csv", "alone.csv")


@pytest.mark.slow
def test_more_processes_than_images_are_refused(checkpoint: str, workplace: Path) -> None:
    image = str(Path(__file__).parents[2] / "docs" / "prediction.png")
    files = ["--data", "ImageFilesDataModule", "--data.path", image]
    ended = in_a_process(["predict", *QUIET, "--ckpt_path", checkpoint, "--output", "p.csv", *DDP, "2", *files])
    assert ended.returncode == 2
    assert "error: 2 processes can't share 1 images: lower --trainer.devices" in ended.stderr


@pytest.mark.slow
def test_two_nodes_make_one_run(small_set: str, workplace: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *meeting, "--node-rank"]
    words = ["fit", *QUIET, *BRIEF, *small(small_set), *DDP, "1", "--trainer.num_nodes", "2"]
    with ThreadPoolExecutor() as nodes:
        ended = list(nodes.map(lambda rank: in_a_process(words, [*torchrun, rank]), ["0", "1"]))
    assert [node.returncode for node in ended] == [0, 0], ended
    assert [folder.name for folder in Path("runs").iterdir()] == ["version_0"]
    assert "trained: runs/version_0/best.ckpt" in ended[0].stdout
    assert "trained" not in ended[1].stdout


@pytest.mark.slow
def test_processes_share_the_work_of_a_cache(workplace: Path) -> None:
    write_tagged(workplace, 40)
    data = ["images.csv", "--data.image_size", "16", "--data.num_workers", "0", "--data.cache", "true"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = in_a_process(["fit", *data, *QUIET, *BRIEF, *DDP, "2"], torchrun)
    assert ended.returncode == 0, ended.stderr
    [index] = workplace.glob("images.csv.cache/*/index.jsonl")
    kept = [json.loads(line)[0] for line in index.read_text(encoding="utf-8").splitlines()]
    assert len(kept) == len(set(kept)) == 40


@pytest.mark.slow
def test_one_process_reports_a_mistake_of_all(workplace: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = in_a_process(["test", "nothing.ckpt", *DDP, "2"], torchrun)
    assert ended.returncode == 1  # torchrun's, which reports more
    assert re.findall("^error: .*", ended.stderr, re.MULTILINE) == [
        "error: no checkpoint at nothing.ckpt: give best, last, or a file"
    ]


@pytest.mark.parametrize(("nodes", "more"), [("1", ""), ("2", " --trainer.num_nodes 2")])
def test_processes_that_the_trainer_does_not_know_of_are_refused(
    nodes: str, more: str, checkpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": nodes}
    for name, value in (started | {"RANK": "0", "LOCAL_RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        main(["predict", checkpoint, *QUIET, "--output", "p.csv", "--trainer.accelerator", "cpu"])
    assert caught.value.code == 2
    line = f"error: torchrun has started 2 processes, not 1: give --trainer.devices 2{more}\n"
    assert capsys.readouterr().err == line


def launched_by(launcher: int) -> int | None:
    """Returns the process that Lightning has launched, of those that may be at work for a moment."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return next(
        (int(pid) for pid in children if b"multilabel_pl.__main__" in Path(f"/proc/{pid}/cmdline").read_bytes()), None
    )


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["launched", "starting", "launcher"])
def test_the_loss_of_a_process_ends_the_others(lost: str, small_set: str, workplace: Path) -> None:
    """The launched one is lost in training, or as it is starting; the launcher while the other one is starting."""
    words = ["fit", *QUIET, *small(small_set), "--trainer.max_epochs", "100000", *DDP, "2"]
    with started(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as fit:
        launched = wait_for(lambda: launched_by(fit.pid), fit)
        if lost == "launched":
            wait_for(Path("runs/version_0/last.ckpt").exists, fit)
        os.kill(fit.pid if lost == "launcher" else launched, signal.SIGKILL)
        assert fit.stderr is not None
        errors = fit.stderr.read()  # until both have closed it
    if lost == "launcher":
        assert fit.returncode == -signal.SIGKILL
        assert errors in ("", "error: process 1 of this run is gone\n")
    else:
        assert fit.returncode == 1
        assert re.fullmatch("error: (another process|process 2) of this run is gone\n", errors)
        assert lost == "launched" or "process 2" in errors
