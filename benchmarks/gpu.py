"""Measures training on a GPU, and checks it against the CPU: `python -m benchmarks.gpu`, five minutes.

Prints seconds an epoch of MNIST for batch sizes, precisions and `--model.compile`, beside a hand-written loop; seconds
of training to the tutorial's accuracy; images a second of a ResNet-50 from cached photos; and whether the GPU agrees
with the CPU and resumes exactly. Ends with status 1 if it doesn't. `--accelerator cpu --quick` tries the code anywhere.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, nullcontext
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, seed_everything

from benchmarks.gpu_checks import check_agreement, check_processes, check_resume
from benchmarks.photos import SIZE, write_table
from benchmarks.printing import table
from multilabel_pl.data.mnist import ARCHIVES, LABELS, MNISTDataModule, read_digits
from multilabel_pl.data.table import TableDataModule
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.network import ConvPoolDense
from multilabel_pl.training.trainer import Trainer

BATCHES = (64, 1024, 8192)
# Each with Lightning's name for it, and what torch.set_float32_matmul_precision takes.
PRECISIONS = {"fp32": ("32-true", "highest"), "tf32": ("32-true", "high"), "bf16": ("bf16-mixed", "high")}
EPOCHS = 4  # of which the first isn't counted: it compiles, and fills caches
# Recipes for a GPU that starts many more steps a second than it needs to compute a batch of 64.
RECIPES: dict[str, dict[str, Any]] = {
    "batch 64": {"batch_size": 64, "lr": 0.008, "max_epochs": 2},
    "batch 512": {"batch_size": 512, "lr": 0.01, "max_epochs": 4},
    "batch 1024": {"batch_size": 1024, "lr": 0.012, "max_epochs": 6},
}


class EpochTimer(Callback):
    """Times epochs, to the end of what the device was asked to do."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        """Begins the first epoch."""
        if not self.ends:
            self.ends.append(now())

    def on_train_epoch_end(self, *_: Any) -> None:
        """Ends an epoch."""
        self.ends.append(now())

    @property
    def seconds(self) -> float:
        """Of an epoch."""
        return usual_seconds(self.ends)


def usual_seconds(ends: Sequence[float]) -> float:
    """Returns the median of what lies between moments, but for the first two."""
    return statistics.median(end - start for start, end in pairwise(ends[1:]))


def now() -> float:
    """Returns the time after the device has done what it was asked to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def quiet_trainer(options: argparse.Namespace, **kwargs: Any) -> Trainer:
    """Returns a trainer that shows and writes nothing."""
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    limit = {"limit_train_batches": 3} if options.quick else {}
    return Trainer(accelerator=options.accelerator, devices=1, num_sanity_val_steps=0, **quiet, **limit, **kwargs)


def epoch_of_fit(options: argparse.Namespace, batch: int, precision: str, compiled: bool) -> float:
    """Returns the seconds of an epoch of `fit` over 60,000 images on the device."""
    name, matmul = PRECISIONS[precision]
    torch.set_float32_matmul_precision(matmul)
    timer = EpochTimer()
    trainer = quiet_trainer(options, max_epochs=EPOCHS, precision=name, callbacks=[timer])
    data = MNISTDataModule(val_size=0, batch_size=batch, on_device=True)
    trainer.fit(MultiLabelClassifier(compile=compiled, threshold=0.5), datamodule=data)
    return timer.seconds


def epoch_by_hand(options: argparse.Namespace, batch: int, precision: str) -> float:
    """Returns the seconds of an epoch of a loop with nothing in it but the work."""
    torch.set_float32_matmul_precision(PRECISIONS[precision][1])
    device = torch.device("cuda" if options.accelerator == "gpu" else options.accelerator)
    data = read_digits(ARCHIVES, "train")
    images, targets = data.images.to(device), data.targets.to(device)
    network = ConvPoolDense((1, 28, 28), len(LABELS)).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), eps=1e-7, weight_decay=0, fused=True)
    context = torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
    ends = [now()]
    for _ in range(EPOCHS):
        steps = torch.split(torch.randperm(len(images), device=device), batch)
        for rows in steps[:3] if options.quick else steps:
            with context:
                scores = network(images.index_select(0, rows))
            loss = F.binary_cross_entropy_with_logits(scores.float(), targets.index_select(0, rows))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        ends.append(now())
    return usual_seconds(ends)


def measure_epochs(options: argparse.Namespace) -> None:
    """Prints seconds an epoch, and their ratio to those of the loop written by hand."""
    rows = []
    for batch in BATCHES[-1:] if options.quick else BATCHES:
        for precision in PRECISIONS:
            by_hand = epoch_by_hand(options, batch, precision)
            for compiled in (False, True):
                seconds = epoch_of_fit(options, batch, precision, compiled)
                cells = [f"{seconds:.3f}", f"{by_hand:.3f}", f"{seconds / by_hand:.2f}"]
                rows.append([f"{batch:,}", precision, "yes" if compiled else "no", *cells])
    print("\n" + table(["batch", "precision", "compiled", "`fit`, seconds an epoch", "by hand", "×"], rows), flush=True)


def measure_quality(options: argparse.Namespace) -> None:
    """Prints seconds of training, validation included, and what test images say of the result."""
    torch.set_float32_matmul_precision("high")
    rows = []
    for name, recipe in RECIPES.items():
        for seed in range(3):
            seed_everything(seed)
            trainer = quiet_trainer(options, max_epochs=recipe["max_epochs"])
            data = MNISTDataModule(batch_size=recipe["batch_size"], on_device=True)
            model = MultiLabelClassifier(lr=recipe["lr"], lr_schedule="one_cycle")
            start = now()
            trainer.fit(model, datamodule=data)
            seconds = now() - start
            [metrics] = trainer.test(model, datamodule=data, figures=False)
            accuracy, exact = metrics["test_label_accuracy"], metrics["test_exact_match"]
            rows.append([name, str(seed), f"{seconds:.2f}", f"{accuracy:.4f}", f"{exact:.4f}"])
    print("\n" + table(["recipe", "seed", "seconds of `fit`", "label accuracy", "exact match"], rows), flush=True)


def measure_resnet(options: argparse.Namespace) -> None:
    """Prints how many cached photos a second train a ResNet-50."""
    write_table()
    rows = []
    for precision in ("tf32", "bf16"):
        name, matmul = PRECISIONS[precision]
        torch.set_float32_matmul_precision(matmul)
        timer = EpochTimer()
        trainer = quiet_trainer(options, max_epochs=EPOCHS, precision=name, callbacks=[timer])
        size = 32 if options.quick else SIZE
        data = TableDataModule("photos.csv", image_size=size, val_size=0, test_size=0, batch_size=64, cache=True)
        trainer.fit(MultiLabelClassifier(network="resnet50", threshold=0.5), datamodule=data)
        assert data.train_set is not None
        rows.append([precision, f"{len(data.train_set) / timer.seconds:,.0f}"])
    print("\n" + table(["ResNet-50 at 224 pixels, batch 64", "cached photos a second"], rows), flush=True)


def checks(options: argparse.Namespace) -> Iterator[tuple[str, str, bool]]:
    """Yields what was checked, what was found, and whether it is as it should be."""
    torch.set_float32_matmul_precision("highest")
    yield from check_agreement(options.accelerator)
    yield check_resume(options.accelerator)
    if torch.cuda.device_count() > 1:
        yield check_processes(torch.cuda.device_count())


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", default="gpu", help="Lightning's name of the device")
    parser.add_argument("--quick", action="store_true", help="a few steps and one size of batch, to try the code")
    return parser


def main() -> None:
    """Measures, checks and prints it all."""
    options = parser().parse_args()
    if options.accelerator == "gpu" and not torch.cuda.is_available():
        sys.exit("there is no GPU here: --accelerator cpu --quick tries the code")
    device = torch.cuda.get_device_name() if options.accelerator == "gpu" else options.accelerator
    print(f"{device}, torch {torch.__version__}")
    with TemporaryDirectory() as folder, chdir(folder):
        found = list(checks(options))
        print("\n" + table(["check", "found", ""], [[*words, "ok" if good else "WRONG"] for *words, good in found]))
        measure_epochs(options)
        measure_quality(options)
        measure_resnet(options)
    sys.exit(not all(good for *_, good in found))


if __name__ == "__main__":
    main()
