"""Checks that a GPU computes what the CPU does, for `python -m benchmarks.gpu`.

Runs are those of the command line, in processes of their own.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.commands import run
from multilabel_pl.checkpoint import read_checkpoint
from multilabel_pl.results.outputs import read_outputs

Check = tuple[str, str, bool]  # what was checked, what was found, and whether it is as it should be

# Rounding differs between devices, by some 1e-6 in a probability of this network in float32.
PROBABILITY, THRESHOLD, METRIC = 1e-4, 1e-3, 1e-3
run_quietly = partial(run, quiet=True)
BRIEF = ("--trainer.limit_train_batches", "100", "--trainer.enable_progress_bar", "false")


def check_agreement(accelerator: str) -> Iterator[Check]:
    """Compares predictions, learned thresholds and metrics of one checkpoint on the device and on the CPU."""
    run_quietly("fit", "--trainer.accelerator", accelerator, "--trainer.max_epochs", "1", *BRIEF)
    checkpoint = Path("runs/version_0/best.ckpt")
    outputs, metrics, thresholds = [], [], []
    for device in ("cpu", accelerator):
        placed = ("--trainer.accelerator", device, "--figures", "false")
        run_quietly("tune", str(checkpoint), *placed, "--output", "tuned.ckpt")
        run_quietly("test", str(checkpoint), *placed)
        outputs.append(read_outputs(checkpoint.parent / "test" / "outputs.npz").evaluation)
        metrics.append(_metrics(checkpoint.parent))
        thresholds.append(read_checkpoint(Path("tuned.ckpt"))["state_dict"]["decision.thresholds"])
    one, other = outputs
    difference = (one.probabilities - other.probabilities).abs()
    yield "predictions on the CPU", f"differ by {difference.max():.1e} at most", bool((difference < PROBABILITY).all())
    near = (one.probabilities - one.thresholds).abs() < PROBABILITY
    tags = int(((one.tags != other.tags) & ~near).sum())
    yield "tags on the CPU", f"{tags} differ that are not at a threshold", tags == 0
    apart = (thresholds[0] - thresholds[1]).abs().max().item()
    yield "thresholds learned on the CPU", f"differ by {apart:.1e} at most", apart < THRESHOLD
    worst = max(abs(value - metrics[1][name]) for name, value in metrics[0].items())
    yield "metrics on the CPU", f"differ by {worst:.1e} at most", worst < METRIC


def check_resume(accelerator: str) -> Check:
    """Compares a run of two epochs with one that stopped after the first."""
    same = ("--trainer.accelerator", accelerator, "--trainer.deterministic", "true", *BRIEF)
    run_quietly("fit", *same, "--trainer.max_epochs", "2", "--trainer.default_root_dir", "whole")
    run_quietly("fit", *same, "--trainer.max_epochs", "1", "--trainer.default_root_dir", "parts")
    again = ("--trainer.default_root_dir", "parts", "--ckpt_path", "last")
    run_quietly("fit", *same, "--trainer.max_epochs", "2", *again)
    one, other = (read_checkpoint(Path(root, "version_0/last.ckpt"))["state_dict"] for root in ("whole", "parts"))
    equal = all(torch.equal(value, other[name]) for name, value in one.items())
    return "a resumed run", "is the same, bit for bit" if equal else "has other weights", equal


def check_processes(count: int) -> Check:
    """Compares an evaluation by several GPUs with that by one, after training on all of them."""
    devices = ("--trainer.accelerator", "gpu", "--trainer.devices")
    root = ("--trainer.default_root_dir", "several")
    run_quietly("fit", *devices, str(count), "--trainer.max_epochs", "1", *BRIEF, *root)
    metrics = []
    for number in (count, 1):
        run_quietly("test", "several/version_0/best.ckpt", *devices, str(number), "--figures", "false")
        metrics.append(_metrics(Path("several/version_0")))
    worst = max(abs(value - metrics[1][name]) for name, value in metrics[0].items())
    return f"metrics of {count} GPUs", f"differ from those of one by {worst:.1e} at most", worst < METRIC


def _metrics(folder: Path) -> dict[str, float]:
    metrics: dict[str, float | None] = json.loads((folder / "test" / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if value is not None}
