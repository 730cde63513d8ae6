"""Measures the speed of training and evaluation against peers: `python -m benchmarks.speed`, 20 minutes on two cores.

The part `quality`, of a whole training from command to checkpoint, runs only if it is named, for an hour and a half.

Every contender runs in a process of its own, and only one works at a time: they take turns, an epoch each, after a
first one that isn't counted. What is printed are medians and ratios of one run, since machines are shared and noisy.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.peers import (
    BATCH,
    TurnTaker,
    bare_evaluation,
    floor,
    keras,
    textbook_lightning,
    textbook_loop,
)
from benchmarks.photos import HEIGHT, PHOTOS, SIZE, WIDTH, bare_decoding, table_of_photos, textbook_files
from benchmarks.printing import table
from benchmarks.quality import SEEDS, measure_quality
from benchmarks.turns import Contender, Gate, take_turns
from multilabel_pl.cli.lightning_cli import CLI
from multilabel_pl.cli.request import Request
from multilabel_pl.data.mnist import LABELS, MNISTDataModule
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.training.allocator import keep_freed_memory
from multilabel_pl.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
SHORT = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "100"]  # of a run to test
PARTS = ("training", "growth", "evaluation", "files", "memory", "start")
QUALITY = "quality"
IMPORTING, IMPORT = "importing Lightning and torchvision", "import lightning.pytorch, torchvision"
IMAGES = 60_000
# Floating-point operations of one image, forward and backward, two to a multiply-add. A layer takes as many for the
# gradient of its weights as for its output, and again for the gradient of its input, which the convolution has no use
# for: twice 9 * 32 weights at 28 * 28 positions, and three times the weights of the dense layers.
MFLOP_PER_IMAGE = 2 * (2 * 9 * 32 * 28 * 28 + 3 * (32 * 14 * 14 * 256 + 256 * len(LABELS))) / 1e6


def ours(gate: Gate, size: int = IMAGES, batch: int = BATCH) -> None:
    """`fit` as a user runs it: progress bar, logs and checkpoints."""

    class GatedCLI(CLI):
        def before_fit(self) -> None:
            super().before_fit()
            self.trainer.callbacks.insert(0, TurnTaker(gate))

    options = {"data.val_size": 0, "data.batch_size": batch, "trainer.limit_train_batches": -(-size // batch)}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    keep_freed_memory()  # as the program does
    GatedCLI(Request.read(["fit", *words, "--trainer.max_epochs", "1000"]))


def evaluation(gate: Gate, command: str) -> None:
    """`validate`, `test` or `predict` over 10,000 images, after the start of the program."""
    keep_freed_memory()
    data = MNISTDataModule(val_size=10_000)
    trainer = Trainer(logger=False, enable_checkpointing=False)
    model = MultiLabelClassifier()
    extra = {"output": "predictions.csv", "figure": False} if command == "predict" else {}
    while True:
        gate()
        getattr(trainer, command)(model, datamodule=data, **extra)


def sgemm_gflops(size: int = 2048, repeats: int = 15) -> float:
    """Measures the rate of a large float32 matrix product, in 1e9 operations a second; the best of some."""
    a, b = torch.randn(2, size, size)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return float(2 * size**3 / min(seconds) / 1e9)


def peak_gigabytes(code: str) -> float:
    """Runs Python code in a process of its own and returns the most memory that it held."""
    report = "\nimport resource, sys; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    with TemporaryDirectory() as folder:
        run = [sys.executable, "-c", code + report]
        result = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=True)
    return int(result.stderr.splitlines()[-1]) / 1024**2


def start_seconds(words: list[str], folder: Path, package: Path) -> float:
    """Measures how long a command takes, in a folder, with the package in another one."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(package)}
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, check=False)
    return time.perf_counter() - start


def print_table(title: str, unit: str, values: dict[str, float], base: str | None = None) -> None:
    """Prints values, and their ratios to one of them if it is named."""
    rows = [[name, f"{value:.3g}"] for name, value in values.items()]
    if base is not None:
        rows = [[*row, f"{value / values[base]:.2f}"] for row, value in zip(rows, values.values(), strict=True)]
    print("\n" + table([title, unit, *([f"× {base}"] if base is not None else [])], rows), flush=True)


def measure_training(rounds: int, keras_python: Path | None) -> None:
    """Prints seconds an epoch of 60,000 images, and how much of the processor's rate the floor reaches."""
    bare = "a bare PyTorch loop over the same network, data and optimizer, as fast as we can write it"
    contenders: dict[str, Contender] = {
        "`fit`": ours,
        bare: floor,
        "a textbook PyTorch loop: tensors in memory, `TensorDataset`, default Adam": textbook_loop,
        "textbook Lightning: torchvision's `MNIST` with `ToTensor`, a loss logged at every step": textbook_lightning,
    }
    if keras_python is not None:
        contenders["Keras"] = partial(keras, python=keras_python.absolute())
    rates = [sgemm_gflops()]
    seconds = take_turns(contenders, rounds)
    rates.append(sgemm_gflops())
    print_table(f"an epoch of {IMAGES:,} images, batch {BATCH}", "seconds", seconds, base="`fit`")
    achieved = MFLOP_PER_IMAGE * IMAGES / seconds[bare] / 1e3
    print(f"\nThe bare loop computes at {achieved:.0f} GFLOP/s ({MFLOP_PER_IMAGE:.2f} MFLOP an image), ", end="")
    print(f"{achieved / max(rates):.0%} of the {max(rates):.0f} GFLOP/s of a large float32 matrix product.")


def measure_growth(rounds: int) -> None:
    """Prints seconds an epoch for several sizes of the set and of the batch."""
    sizes = [(15_000, BATCH), (30_000, BATCH), (IMAGES, BATCH), (IMAGES, 256), (IMAGES, 1024)]
    contenders: dict[str, Contender] = {
        f"{size:,} images, batch {batch}": partial(ours, size=size, batch=batch) for size, batch in sizes
    }
    print_table("an epoch of `fit`", "seconds", take_turns(contenders, rounds))


def measure_evaluation(rounds: int) -> None:
    """Prints seconds over 10,000 images, as ratios to those of the bare forward passes and metrics."""
    bare = "bare forward passes and metrics"
    contenders: dict[str, Contender] = {
        bare: partial(bare_evaluation, metrics=True),
        "`validate`": partial(evaluation, command="validate"),
        "`test`": partial(evaluation, command="test"),
        "`predict`": partial(evaluation, command="predict"),
    }
    seconds = take_turns(contenders, rounds)
    ratios = {name: value / seconds[bare] for name, value in seconds.items()}
    print_table("10,000 images", f"× {bare}", ratios)


def measure_files(rounds: int) -> None:
    """Prints how many image files are decoded a second, on all cores."""
    contenders: dict[str, Contender] = {
        "an epoch of `TableDataModule` that doesn't fit in memory": table_of_photos,
        "decoding and resizing alone, in as many processes": bare_decoding,
        "a textbook DataLoader of single items: Pillow, `Resize`, `ToTensor`": textbook_files,
    }
    seconds = take_turns(contenders, rounds)
    title = f"JPEG files of {WIDTH}x{HEIGHT}, resized to {SIZE}x{SIZE}"
    print_table(title, "images a second", {name: PHOTOS / value for name, value in seconds.items()})


def measure_memory() -> None:
    """Prints the peak memory of a short `fit` beside that of importing its libraries."""
    fit = ["fit", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "300"]
    code = {
        IMPORTING: IMPORT,
        "`fit`": f"from multilabel_pl.cli.main import main; main({fit})",
    }
    print_table("peak memory", "GB", {name: peak_gigabytes(text) for name, text in code.items()})


def measure_start(rounds: int, beside: Path | None) -> None:
    """Prints how long commands take that do little work; beside those of another checkout, in turns, if it is given."""
    bare = "from lightning.pytorch.cli import LightningCLI; from lightning.pytorch.demos.boring_classes import *; "
    program = ["-m", "multilabel_pl"]
    commands = {
        IMPORTING: ["-c", IMPORT],
        "a bare LightningCLI's `fit --help`": ["-c", f"{bare}LightningCLI(BoringModel, args=['fit', '--help'])"],
        "`--version`": [*program, "--version"],
        "`fit --help`": [*program, "fit", "--help"],
        "a mistake in an option's name": [*program, "fit", "--model.haed", "sigmoid"],
        "a mistake in its value": [*program, "fit", "--model.lr", "fast"],
        "one that only the parser sees": [*program, "fit", "--trainer.precision", "8"],
        "`test --figures false`": [*program, "test", "--figures", "false"],
        "`test`": [*program, "test"],
        "`predict`": [*program, "predict"],
    }
    packages = {"": ROOT, **({" (beside)": beside.absolute()} if beside is not None else {})}
    seconds: dict[str, list[float]] = {f"{name}{suffix}": [] for name in commands for suffix in packages}
    with TemporaryDirectory() as folder:
        for suffix, package in packages.items():
            (place := Path(folder, suffix or "here")).mkdir()
            start_seconds([*program, "fit", *SHORT], place, package)
        for _ in range(rounds):
            for name, words in commands.items():
                for suffix, package in packages.items():
                    taken = start_seconds(words, Path(folder, suffix or "here"), package)
                    seconds[f"{name}{suffix}"].append(taken)
    print_table("start", "seconds", {name: statistics.median(values) for name, values in seconds.items()})


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=(*PARTS, QUALITY), help="one part alone")
    parser.add_argument("--rounds", type=int, default=5, help="turns that are counted; of quality, three at most")
    parser.add_argument("--beside", type=Path, help="another checkout, timed as well by `start`")
    parser.add_argument("--keras-python", type=Path, help="a Python that has Keras, to measure it as well")
    parser.add_argument("--fastai-python", type=Path, help="a Python that has fastai, for quality")
    parser.add_argument("--results", type=Path, help="a file from which quality continues if it was interrupted")
    return parser


def main() -> None:
    """Measures and prints it all."""
    options = parser().parse_args()
    parts: dict[str, Callable[[], None]] = {
        "training": lambda: measure_training(options.rounds, options.keras_python),
        "growth": lambda: measure_growth(options.rounds),
        "evaluation": lambda: measure_evaluation(2 * options.rounds + 1),
        "files": lambda: measure_files(options.rounds),
        "memory": measure_memory,
        "start": lambda: measure_start(options.rounds, options.beside),
        QUALITY: lambda: measure_quality(
            min(options.rounds, SEEDS), options.keras_python, options.fastai_python, options.results
        ),
    }
    for name in [options.part] if options.part else PARTS:
        parts[name]()


if __name__ == "__main__":
    main()
