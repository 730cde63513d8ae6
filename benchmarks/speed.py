"""Measures the speed of training and evaluation against peers: `make bench`, under 15 minutes on two cores.

Every contender runs in a process of its own, and only one works at a time: they take turns, an epoch each, after a
first one that isn't counted. What is printed are medians and ratios of one run, since machines are shared and noisy.
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from datetime import date
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from lightning import pytorch as pl
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from multilabel_pl.cli import CLI
from multilabel_pl.data.mnist import ARCHIVES, FILES, LABELS, MNISTDataModule, digit_targets, read_digits
from multilabel_pl.memory import keep_freed_memory
from multilabel_pl.model.classifier import KERAS_ADAM_EPSILON, MultiLabelClassifier
from multilabel_pl.model.metrics import multilabel_metrics
from multilabel_pl.model.network import ConvPoolDense
from multilabel_pl.trainer import Trainer

IMAGES, BATCH, EVAL_BATCH = 60_000, 64, 250
SHAPE = (1, 28, 28)
# Floating-point operations of one image, forward and backward, two to a multiply-add. A layer takes as many for the
# gradient of its weights as for its output, and again for the gradient of its input, which the convolution has no use
# for: twice 9 * 32 weights at 28 * 28 positions, and three times the weights of the dense layers.
MFLOP_PER_IMAGE = 2 * (2 * 9 * 32 * 28 * 28 + 3 * (32 * 14 * 14 * 256 + 256 * len(LABELS))) / 1e6

Contenders = dict[str, tuple[Callable[..., None], dict[str, Any]]]  # by name: a function, and its options
Gate = Callable[[], None]  # called before each turn: waits until it is this contender's


def floor(gate: Gate, size: int = IMAGES, batch: int = BATCH) -> None:
    """A loop over the same network, data and optimizer, with nothing in it but the work."""
    keep_freed_memory()
    data = read_digits(ARCHIVES, "train")
    network = ConvPoolDense(SHAPE, len(LABELS))
    optimizer = torch.optim.Adam(network.parameters(), eps=KERAS_ADAM_EPSILON, fused=True)
    while True:
        gate()
        for rows in torch.split(torch.randperm(IMAGES)[:size], batch):
            loss = F.binary_cross_entropy_with_logits(network(data.images[rows]), data.targets[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def ours(gate: Gate, size: int = IMAGES, batch: int = BATCH) -> None:
    """`fit` as a user runs it: progress bar, logs and checkpoints."""

    class GatedCLI(CLI):
        def before_fit(self) -> None:
            super().before_fit()
            self.trainer.callbacks.insert(0, TurnTaker(gate))

    options = {"data.val_size": 0, "data.batch_size": batch, "trainer.limit_train_batches": -(-size // batch)}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    keep_freed_memory()  # as the program does
    GatedCLI(["fit", *words, "--trainer.max_epochs", "1000"])


class TurnTaker(pl.Callback):
    """Waits for its turn before every epoch."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Waits."""
        self.gate()


def textbook_network() -> nn.Sequential:
    """The tutorial's network as PyTorch's own tutorials write one."""
    dense = [nn.Flatten(), nn.Linear(32 * 14 * 14, 256), nn.ReLU(), nn.Linear(256, len(LABELS))]
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), *dense)


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


class TextbookModule(pl.LightningModule):
    """A LightningModule as Lightning's introduction writes one: it logs the loss of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.network = textbook_network()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Returns and logs the loss."""
        images, targets = batch
        loss = F.binary_cross_entropy_with_logits(self.network(images), targets)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns the default Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def textbook_lightning(gate: Gate) -> None:
    """Lightning's textbook recipe: torchvision's MNIST with ToTensor, and a DataLoader of single items."""
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    raw = Path("MNIST/raw")
    raw.mkdir(parents=True)
    for name in (name for names in FILES.values() for name in names):
        subprocess.run(["gunzip", "-c", ARCHIVES / f"{name}.gz"], stdout=(raw / name).open("wb"), check=True)
    targets = digit_targets(torch.arange(10))
    data: Dataset[Any] = MNIST(".", transform=ToTensor(), target_transform=lambda digit: targets[digit])
    loader = DataLoader(data, batch_size=BATCH, shuffle=True)
    pl.Trainer(max_epochs=1000, callbacks=[TurnTaker(gate)]).fit(TextbookModule(), loader)


def bare_evaluation(gate: Gate) -> None:
    """The forward passes over the 10,000 test images, and the metrics."""
    data = read_digits(ARCHIVES, "test")
    network = ConvPoolDense(SHAPE, len(LABELS))
    while True:
        gate()
        with torch.inference_mode():
            logits = torch.cat([network(images) for images in torch.split(data.images, EVAL_BATCH)])
            F.binary_cross_entropy_with_logits(logits, data.targets)
            multilabel_metrics(logits.sigmoid(), logits >= 0, data.targets)


def bare_prediction(gate: Gate) -> None:
    """The forward passes over the 10,000 test images."""
    data = read_digits(ARCHIVES, "test")
    network = ConvPoolDense(SHAPE, len(LABELS))
    while True:
        gate()
        with torch.inference_mode():
            torch.cat([network(images) for images in torch.split(data.images, EVAL_BATCH)]).sigmoid()


def evaluation(gate: Gate, command: str = "test") -> None:
    """`validate`, `test` or `predict` over 10,000 images, after the start of the program."""
    data = MNISTDataModule(val_size=10_000)
    trainer = Trainer(logger=False, enable_checkpointing=False)
    model = MultiLabelClassifier()
    extra = {"output": "predictions.csv", "figure": []} if command == "predict" else {}
    while True:
        gate()
        getattr(trainer, command)(model, datamodule=data, **extra)


def _work(contender: Callable[..., None], options: dict[str, Any], pipe: Connection) -> None:
    """What a contender's process does: it says that it is ready, and waits for a word, before each turn."""

    def gate() -> None:
        pipe.send("ready")
        if pipe.recv() == "stop":
            os._exit(0)

    with TemporaryDirectory() as folder, chdir(folder), Path("log.txt").open("w") as log, redirect_stdout(log):
        sys.argv = sys.argv[:1]
        contender(gate, **options)


def take_turns(contenders: Contenders, rounds: int) -> dict[str, float]:
    """Runs contenders in turns and returns the median seconds of each one's turn."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name, (contender, options) in contenders.items():
        pipes[name], theirs = context.Pipe()
        context.Process(target=_work, args=(contender, options, theirs), daemon=True).start()
        pipes[name].recv()  # it has prepared itself
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(1 + rounds):
        for name, pipe in pipes.items():
            start = time.perf_counter()
            pipe.send("go")
            pipe.recv()
            seconds[name].append(time.perf_counter() - start)
    for pipe in pipes.values():
        pipe.send("stop")
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def sgemm_gflops(size: int = 2048, repeats: int = 15) -> float:
    """Measures the rate of a large float32 matrix product, in 1e9 operations a second; the best of some."""
    a, b = torch.randn(2, size, size)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return float(2 * size**3 / min(seconds) / 1e9)


def peak_megabytes(code: str) -> float:
    """Runs Python code in a process of its own and returns the most memory that it held."""
    report = "\nimport resource, sys; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    with TemporaryDirectory() as folder:
        run = [sys.executable, "-c", code + report]
        result = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=True)
    return int(result.stderr.splitlines()[-1]) / 1024


def start_seconds(words: list[str]) -> float:
    """Measures how long a command takes to answer."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], capture_output=True, check=True)
    return time.perf_counter() - start


def table(title: str, seconds: dict[str, float], base: str, unit: str = "s") -> None:
    """Prints medians and their ratios to one of them."""
    print(f"\n| {title} | {unit} | × {base} |\n|---|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} | {value / seconds[base]:.2f} |", flush=True)


def measure_training(rounds: int) -> None:
    """Prints seconds an epoch of 60,000 images, and how much of the processor's rate the floor reaches."""
    contenders: Contenders = {
        "floor": (floor, {}),
        "`fit`": (ours, {}),
        "textbook PyTorch loop": (textbook_loop, {}),
        "textbook Lightning": (textbook_lightning, {}),
    }
    rates = [sgemm_gflops()]
    seconds = take_turns(contenders, rounds)
    rates.append(sgemm_gflops())
    table("an epoch of 60,000 images, batch 64", seconds, base="floor")
    achieved = MFLOP_PER_IMAGE * IMAGES / seconds["floor"] / 1e3
    print(f"\nThe floor computes at {achieved:.0f} GFLOP/s ({MFLOP_PER_IMAGE:.2f} MFLOP an image), ", end="")
    print(f"{achieved / max(rates):.0%} of the {max(rates):.0f} GFLOP/s of a large float32 matrix product.")


def measure_growth(rounds: int) -> None:
    """Prints seconds an epoch for several sizes of the set and of the batch."""
    sizes: Contenders = {f"{size:,} images, batch {BATCH}": (ours, {"size": size}) for size in (15_000, 30_000)}
    batches: Contenders = {f"60,000 images, batch {batch}": (ours, {"batch": batch}) for batch in (BATCH, 256, 1024)}
    table("an epoch of `fit`", take_turns({**sizes, **batches}, rounds), base="60,000 images, batch 64")


def measure_evaluation(rounds: int) -> None:
    """Prints seconds over 10,000 images."""
    commands: Contenders = {
        f"`{command}`": (evaluation, {"command": command}) for command in ("validate", "test", "predict")
    }
    bare: Contenders = {"forward passes and metrics": (bare_evaluation, {}), "forward passes": (bare_prediction, {})}
    table("10,000 images", take_turns({**bare, **commands}, rounds), base="forward passes and metrics")


def measure_memory() -> None:
    """Prints the peak memory of a short `fit` beside that of importing its libraries."""
    fit = ["fit", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "300"]
    code = {
        "importing lightning and torchvision": "import lightning.pytorch, torchvision",
        "`fit`": f"from multilabel_pl.cli import main; main({fit})",
    }
    table("peak memory", {name: peak_megabytes(text) for name, text in code.items()}, next(iter(code)), "MB")


def measure_start(rounds: int) -> None:
    """Prints how fast the program answers."""
    bare = "from lightning.pytorch.cli import LightningCLI; from lightning.pytorch.demos.boring_classes import *; "
    commands = {
        "`--version`": ["-m", "multilabel_pl", "--version"],
        "`fit --help`": ["-m", "multilabel_pl", "fit", "--help"],
        "a bare LightningCLI's `fit --help`": [
            "-c",
            f"{bare}LightningCLI(BoringModel, args=['fit', '--help'])",
        ],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, words in commands.items():
            seconds[name].append(start_seconds(words))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    table("start", medians, base="a bare LightningCLI's `fit --help`")


def main() -> None:
    """Measures and prints it all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="turns that are counted")
    parser.add_argument(
        "--only", choices=["training", "growth", "evaluation", "memory", "start"], help="one part alone"
    )
    options = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "torchmetrics"))
    print(
        f"{date.today():%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}", flush=True
    )
    parts: dict[str, Callable[[], None]] = {
        "training": lambda: measure_training(options.rounds),
        "growth": lambda: measure_growth(1),
        "evaluation": lambda: measure_evaluation(2 * options.rounds + 1),
        "memory": measure_memory,
        "start": lambda: measure_start(options.rounds),
    }
    for name, measure in parts.items():
        if options.only in (None, name):
            measure()


if __name__ == "__main__":
    main()
