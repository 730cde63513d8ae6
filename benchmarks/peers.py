"""What `fit` and the evaluating commands are measured against.

The floors do the same work with nothing around it; the others are written as their own documentation shows it.
"""

import os
import subprocess
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning import pytorch as pl
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.to_quality.lightning_module import TextbookModule, textbook_digits
from benchmarks.to_quality.network import textbook_network
from benchmarks.turns import GO, READY, Gate
from multilabel_pl.data.mnist import ARCHIVES, LABELS, read_digits
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.network import ConvPoolDense
from multilabel_pl.model.torch_optimizers import KERAS_ADAM_EPSILON
from multilabel_pl.training.allocator import keep_freed_memory

BATCH, EVAL_BATCH = 64, 250
SHAPE = (1, 28, 28)
ROOT = Path(__file__).parents[1]
KERAS = "benchmarks.keras_peer"


def floor(gate: Gate) -> None:
    """A loop over the same network, data and optimizer, with nothing in it but the work."""
    keep_freed_memory()
    data = read_digits(ARCHIVES, "train")
    network = ConvPoolDense(SHAPE, len(LABELS))
    optimizer = torch.optim.Adam(network.parameters(), eps=KERAS_ADAM_EPSILON, fused=True)
    while True:
        gate()
        for rows in torch.split(torch.randperm(len(data)), BATCH):
            images, targets = data.images.index_select(0, rows), data.targets.index_select(0, rows)
            loss = F.binary_cross_entropy_with_logits(network(images), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


class TurnTaker(pl.Callback):
    """Waits for its turn before every epoch."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Waits."""
        self.gate()


def textbook_loop(gate: Gate) -> None:
    """PyTorch's textbook loop: tensors in memory, a TensorDataset, a DataLoader, default Adam."""
    data = read_digits(ARCHIVES, "train")
    loader = DataLoader(TensorDataset(data.images / 255, data.targets), batch_size=BATCH, shuffle=True)
    network = textbook_network()
    optimizer = torch.optim.Adam(network.parameters())
    while True:
        gate()
        for images, targets in loader:
            loss = F.binary_cross_entropy_with_logits(network(images), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def textbook_lightning(gate: Gate) -> None:
    """Lightning's textbook recipe: torchvision's MNIST with ToTensor, and a DataLoader of single items."""
    loader = DataLoader(textbook_digits(ARCHIVES), batch_size=BATCH, shuffle=True)
    pl.Trainer(max_epochs=1000, callbacks=[TurnTaker(gate)]).fit(TextbookModule(), loader)


def keras(gate: Gate, python: Path) -> None:
    """Keras's loop, by a Python of its own that has Keras."""
    command, pipe = [str(python), "-m", KERAS, str(ARCHIVES)], subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True, bufsize=1) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        while peer.stdout.readline().strip() == READY:
            gate()
            peer.stdin.write(f"{GO}\n")
    raise RuntimeError(f"{KERAS} ended: {Path('log.txt').read_text()}")


def bare_evaluation(gate: Gate, metrics: bool) -> None:
    """The forward passes over the 10,000 test images, with or without the metrics."""
    keep_freed_memory()
    data = read_digits(ARCHIVES, "test")
    network = ConvPoolDense(SHAPE, len(LABELS))
    decision = Decision(LABELS, threshold=0.5, calibrate=False)
    while True:
        gate()
        with torch.inference_mode():
            logits = torch.cat([network(images) for images in torch.split(data.images, EVAL_BATCH)])
            loss = F.binary_cross_entropy_with_logits(logits, data.targets)
            evaluation = Evaluation(decision, logits, data.targets, loss)
            _ = evaluation.metrics if metrics else evaluation.tags
