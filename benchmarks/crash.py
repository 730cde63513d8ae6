"""Kills runs at random moments, and resumes them each time: `python -m benchmarks.crash`, half an hour.

Every other kill waits until a checkpoint is being written. Prints how many times the checkpoint that was left was bit
for bit that of a run that nothing has stopped, and whether both end the same.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer

from benchmarks.own_images import write_images
from benchmarks.printing import table
from multilabel_pl.atomic import PARTIAL
from multilabel_pl.training.checkpointing import LastCheckpoint

SCENES = [
    *("--data", "SceneDataModule", "--data.train_size", "1280", "--data.val_size", "500"),
    *("--data.canvas_size", "56", "--data.max_digits", "2", "--model.network", "conv_stack"),
]
STOP_EARLY = {"class_path": "EarlyStopping", "init_args": {"monitor": "val_loss", "patience": 15}}
FILES = ["--data.max_memory", "0", "--data.num_workers", "2", "--data.image_size", "32"]  # decoded in every epoch
AUGMENTATION = ["--data.flip", "true", "--data.min_crop", "0.6", "--data.color_jitter", "0.3"]
OPTIONS = [
    *("--last_checkpoint.every_n_train_steps", "5", "--trainer.log_every_n_steps", "1", "--ckpt_path", "last"),
    *("--trainer.enable_progress_bar", "false", "--trainer.default_root_dir"),
]
EVERY = {"class_path": "benchmarks.crash.EveryCheckpoint", "init_args": {"every_n_train_steps": 5}}
LEARNED = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")
SHARE = 0.8  # of a training's time, all kills together; what they wait for comes on top


class Training(NamedTuple):
    """A training that has much to forget."""

    name: str
    options: list[str]
    callbacks: list[dict[str, Any]]

    def start(self, root: Path, *more: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Begins the training, or goes on with it, with more callbacks or without."""
        words = [*self.options, *OPTIONS, str(root), "--trainer.callbacks", json.dumps([*self.callbacks, *more])]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}  # of EveryCheckpoint
        command = [sys.executable, "-m", "multilabel_pl", "fit", *words]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)


class EveryCheckpoint(LastCheckpoint):
    """Keeps every state that last.ckpt has had."""

    def path(self, trainer: Trainer) -> Path:
        """Names the file by its step."""
        return super().path(trainer).with_name(f"step={trainer.global_step}.ckpt")


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Names the places where the contents of two checkpoints are not the same, bit for bit."""
    if isinstance(one, torch.Tensor):
        return [] if _bits(one) == _bits(other) else [place]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [place]
        return [found for key in one for found in differences(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [place]
        pairs = enumerate(zip(one, other, strict=True))
        return [found for i, pair in pairs for found in differences(*pair, f"{place}/{i}")]
    return [] if one == other or (one != one and other != other) else [place]  # NaN is NaN


def _bits(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return tensor.dtype, tensor.shape, tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def load(path: Path) -> dict[str, Any]:
    """Reads what a checkpoint has learned."""
    content = torch.load(path, weights_only=True)
    return {name: content[name] for name in LEARNED}


def what_is_wrong(last: Path, whole: Path, step_before: int) -> tuple[int, list[str]]:
    """Compares the checkpoint that a kill has left with the one of the same step in the whole training.

    Returns:
        Its step, 0 if there is none yet; and how it differs, or that a later one was there before.
    """
    if not last.is_file():
        return 0, ["the checkpoint is gone"] if step_before else []
    left = load(last)
    step: int = left["global_step"]
    if step < step_before:
        return step, [f"it was at step {step_before} before"]
    return step, differences(left, load(whole / f"step={step}.ckpt"))


def kill(training: subprocess.Popen[bytes], run: Path, seconds: float, writing: bool) -> bool:
    """Kills a training after some time, or as soon as it writes a checkpoint after that.

    Returns:
        Whether it was killed; False if it has ended by itself.
    """
    earlier = set(run.glob(f"{PARTIAL}*"))  # of the kills before
    time.sleep(seconds)
    while writing and training.poll() is None and not set(run.glob(f"{PARTIAL}*.ckpt")) - earlier:
        time.sleep(0.0005)
    if training.poll() is not None:
        return False
    training.kill()
    training.wait()
    return True


def timed(training: subprocess.Popen[bytes], run: Path) -> tuple[float, float]:
    """Waits for the end of a training; returns the seconds of its start and those after it."""
    begun = time.monotonic()
    while not (run / "config.yaml").exists():
        if training.poll() is not None:
            sys.exit("the training has not begun")
        time.sleep(0.05)
    started = time.monotonic()
    if training.wait() != 0:
        sys.exit("the training has failed")
    return started - begun, time.monotonic() - started


def measure(training: Training, folder: Path, kills: int, moments: random.Random) -> tuple[list[str], bool]:
    """Trains once without a kill and once with many; returns a row of the table, and whether all was exact."""
    whole, killed = (folder / name / "version_0" for name in ("whole", "killed"))
    start_up, seconds = timed(training.start(whole.parent, EVERY), whole)
    span = SHARE * seconds / kills
    step = exact = within = 0
    for number in range(1, kills + 1):
        process = training.start(killed.parent)
        if not kill(process, killed, moments.uniform(0.8 * start_up, start_up + span), writing=number % 2 == 0):
            sys.exit(f"{training.name}: the training has come to its end before kill {number}")
        left = any(killed.glob(f"{PARTIAL}*.ckpt"))
        step, wrong = what_is_wrong(killed / "last.ckpt", whole, step)
        exact, within = exact + (not wrong), within + left
        verdict = ", ".join(wrong) or "exact"
        print(f"{training.name}: kill {number}{' within a write' * left}: step {step}: {verdict}", flush=True)
    if training.start(killed.parent).wait() != 0:
        sys.exit("the training that was killed can't be ended")
    same = (
        not differences(load(killed / "last.ckpt"), load(whole / max_step(whole))),
        not differences(load(killed / "best.ckpt"), load(whole / "best.ckpt")),
        (killed / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes(),
    )
    ends = ["the same" if equal else "DIFFERS" for equal in same]
    return [training.name, str(kills), str(within), str(exact), *ends], exact == kills and all(same)


def trainings(folder: Path) -> list[Training]:
    """Lists the trainings: of what is forgotten if it is not saved, each has its own."""
    shifts = ["--data.max_shift", "2", "--model.lr_schedule", "one_cycle", "--model.calibrate", "true"]
    files = ["--data.table", str(write_images(folder / "images")), *FILES, *AUGMENTATION]
    return [
        Training("shifts, schedule, calibration", [*SCENES, *shifts, "--trainer.max_epochs", "100"], []),
        Training(
            "accumulation, early stopping",
            [*SCENES, "--trainer.accumulate_grad_batches", "2", "--trainer.max_epochs", "1000"],
            [STOP_EARLY],
        ),
        Training(
            "files, workers, augmentation",
            [*files, "--model.network", "conv_stack", "--model.lr_schedule", "one_cycle", "--trainer.max_epochs", "20"],
            [],
        ),
    ]


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each training")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    return parser


def main() -> None:
    """Kills each training, and prints what was left."""
    options = parser().parse_args()
    moments = random.Random(options.seed)
    with TemporaryDirectory() as name:
        folder = Path(name)
        measured = [
            measure(training, folder / str(i), options.kills, moments) for i, training in enumerate(trainings(folder))
        ]
    ends = ["`last.ckpt`", "`best.ckpt`", "`metrics.csv`"]
    header = ["training", "kills", "in a write", "exact or none yet", *ends]
    print("\n" + table(header, [row for row, _ in measured]))
    sys.exit(not all(exact for _, exact in measured))


def max_step(run: Path) -> str:
    """Returns the name of the newest checkpoint that is named by its step."""
    return max((path.name for path in run.glob("step=*.ckpt")), key=lambda name: int(name[5:-5]))


if __name__ == "__main__":
    main()
