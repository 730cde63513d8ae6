"""Several processes do as one."""

import csv
import json
import shutil
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from multilabel_pl.cli.main import main
from tests.conftest import BRIEF, QUIET, in_a_process

DDP = ["--trainer.strategy", "ddp", "--trainer.accelerator", "cpu", "--trainer.devices"]
pytestmark = pytest.mark.slow


def losses(run: str) -> list[float]:
    with Path(run, "metrics.csv").open() as file:
        return [float(row["val_loss"]) for row in csv.DictReader(file) if row["val_loss"]]


def test_two_processes_train_as_one_with_batches_of_twice_the_size(workplace: Path) -> None:
    scenes = ["--data", "SceneDataModule", "--data.train_size", "320", "--data.val_size", "501", "--data.batch_size"]
    words = ["fit", *QUIET, "--trainer.max_epochs", "2", "--model.calibrate", "true", *scenes]
    main([*words, "64"])
    record = ["--trainer.callbacks", "tests.callbacks.Record"]
    ended = in_a_process([*words, "32", *DDP, "2", *record])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert losses("runs/version_1") == pytest.approx(losses("runs/version_0"), rel=1e-3)
    thresholds = [torch.load(f"thresholds_{rank}.pt") for rank in range(2)]
    assert torch.equal(*thresholds)
    checkpoint = torch.load("runs/version_1/last.ckpt", weights_only=True)
    assert torch.equal(checkpoint["state_dict"]["thresholds"], thresholds[0])


def test_three_processes_count_every_test_image_once(run_folder: Path, workplace: Path) -> None:
    shutil.copytree(run_folder, "runs/version_0")
    figures = []
    for words in ([], [*DDP, "3"]):  # 10,000 images can't be shared evenly
        ended = in_a_process(["test", *QUIET, "--figures", "false", *words])
        assert (ended.returncode, ended.stderr) == (0, "")
        figures.append(json.loads(Path("runs/version_0/test/metrics.json").read_text()))
    assert figures[0] == pytest.approx(figures[1], abs=1e-6)


@pytest.mark.parametrize("kind", ["labelled images", "files"])
def test_three_processes_predict_one_table_in_order(kind: str, checkpoint: str, workplace: Path) -> None:
    words = ["--trainer.limit_predict_batches", "2"]  # which are of 250 images, in each process
    if kind == "files":
        pictures = Path(__file__).parents[2] / "docs"
        Path("scans").mkdir()
        for i in range(7):
            shutil.copy(pictures / "prediction.png", f"scans/{i}.png")
        Path("scans/3.png").write_text("no image")
        words = ["--data", "ImageFilesDataModule", "--data.path", "scans", "--data.batch_size", "2"]
    ended = in_a_process(["predict", *QUIET, "--ckpt_path", checkpoint, "--output", "shared.csv", *DDP, "3", *words])
    assert ended.returncode == (1 if kind == "files" else 0), ended.stderr
    if kind == "labelled images":
        words = ["--trainer.limit_predict_batches", "6"]
    alone = in_a_process(["predict", *QUIET, "--ckpt_path", checkpoint, "--output", "alone.csv", *words])
    assert ended.stderr == alone.stderr
    assert Path("shared.csv").read_text() == Path("alone.csv").read_text()


def test_more_processes_than_images_are_refused(checkpoint: str, workplace: Path) -> None:
    picture = str(Path(__file__).parents[2] / "docs" / "prediction.png")
    files = ["--data", "ImageFilesDataModule", "--data.path", picture]
    ended = in_a_process(["predict", *QUIET, "--ckpt_path", checkpoint, "--output", "p.csv", *DDP, "2", *files])
    assert ended.returncode == 2
    assert "error: 2 processes can't share 1 images: lower --trainer.devices" in ended.stderr


def test_two_nodes_make_one_run(workplace: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *meeting, "--node-rank"]
    words = ["fit", *QUIET, *BRIEF, *DDP, "1", "--trainer.num_nodes", "2"]
    with ThreadPoolExecutor() as nodes:
        ended = list(nodes.map(lambda rank: in_a_process(words, [*torchrun, rank]), ["0", "1"]))
    assert [node.returncode for node in ended] == [0, 0], ended
    assert [folder.name for folder in Path("runs").iterdir()] == ["version_0"]
    assert "trained: runs/version_0/best.ckpt" in ended[0].stdout
    assert "trained" not in ended[1].stdout
