"""Kills one run at random moments, and resumes it each time: `python -m benchmarks.crash`, five minutes.

Prints how many times the checkpoint that was left was bit for bit that of a run that nothing has stopped, and whether
both end the same.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import Trainer

from multilabel_pl.results.text import table
from multilabel_pl.training.checkpointing import LastCheckpoint

OPTIONS = [  # of a training that has much to forget: random shifts, a schedule, running means, temperatures
    *("--data", "SceneDataModule", "--data.train_size", "1280", "--data.val_size", "500", "--data.canvas_size", "56"),
    *("--data.max_digits", "2", "--data.max_shift", "2"),
    *("--model.network", "conv_stack", "--model.lr_schedule", "one_cycle", "--model.calibrate", "true"),
    *("--last_checkpoint.every_n_train_steps", "5", "--trainer.log_every_n_steps", "1", "--trainer.max_epochs", "100"),
    *("--trainer.enable_progress_bar", "false", "--ckpt_path", "last", "--trainer.default_root_dir"),
]
EVERY = [
    "--trainer.callbacks",
    '{"class_path": "benchmarks.crash.EveryCheckpoint", "init_args": {"every_n_train_steps": 5}}',
]
LEARNED = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")
SPAN = 2.0  # seconds of training at most before a kill


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


def train(root: Path, *words: str) -> subprocess.Popen[bytes]:
    """Begins the training, or goes on with it."""
    command = [sys.executable, "-m", "multilabel_pl", "fit", *OPTIONS, str(root), *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}  # of EveryCheckpoint
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)


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


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    return parser


def main() -> None:
    """Trains once without a kill and once with many."""
    options = parser().parse_args()
    moments = random.Random(options.seed)
    with TemporaryDirectory() as folder:
        whole, killed = (Path(folder, name, "version_0") for name in ("whole", "killed"))
        begun = time.monotonic()
        training = train(whole.parent, *EVERY)
        while not (whole / "config.yaml").exists():
            if training.poll() is not None:
                sys.exit("the training has not begun")
            time.sleep(0.05)
        start_up = time.monotonic() - begun
        if training.wait() != 0:
            sys.exit("the training has failed")
        step, exact, kills = 0, 0, 0
        for number in range(options.kills):
            training = train(killed.parent)
            time.sleep(moments.uniform(0.8 * start_up, start_up + SPAN))
            if training.poll() is not None:
                print(f"the training has come to its end before kill {number + 1}")
                break
            training.kill()
            training.wait()
            step, wrong = what_is_wrong(killed / "last.ckpt", whole, step)
            kills, exact = kills + 1, exact + (not wrong)
            print(f"kill {number + 1}: step {step}: {', '.join(wrong) or 'exact'}", flush=True)
        if train(killed.parent).wait() != 0:
            sys.exit("the training that was killed can't be ended")
        same = {
            "`last.ckpt`": not differences(load(killed / "last.ckpt"), load(whole / max_step(whole))),
            "`best.ckpt`": not differences(load(killed / "best.ckpt"), load(whole / "best.ckpt")),
            "`metrics.csv`": (killed / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes(),
        }
    ends = ["the same" if equal else "DIFFERS" for equal in same.values()]
    print("\n" + table(["kills", "exact checkpoint, or none yet", *same], [[str(kills), str(exact), *ends]]))
    sys.exit(exact < kills or not all(same.values()))


def max_step(run: Path) -> str:
    """Returns the name of the newest checkpoint that is named by its step."""
    return max((path.name for path in run.glob("step=*.ckpt")), key=lambda name: int(name[5:-5]))


if __name__ == "__main__":
    main()
