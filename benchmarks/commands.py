"""The package's commands, run as a user would; shared by the benchmarks."""

import json
import subprocess
import sys
from pathlib import Path

from multilabel_pl.file_names import BEST
from multilabel_pl.training.runs import find_checkpoint

CONFIGS = Path(__file__).parents[1] / "configs"


def fit(root: Path, *words: str) -> Path:
    """Trains, unless that has been done before in this folder, and returns the best checkpoint.

    Args:
        root: Folder of the run.
        *words: What follows `fit`.
    """
    done = root / "done"
    if not done.exists():
        run("fit", *words, "--trainer.default_root_dir", str(root))
        done.touch()
    return find_checkpoint(root, BEST)


def fit_and_test(root: Path, *words: str) -> dict[str, float]:
    """Trains as `fit` does, and returns the metrics that `test` writes."""
    checkpoint = fit(root, *words)
    written = checkpoint.parent / "test" / "metrics.json"
    if not written.exists():
        run("test", str(checkpoint), "--figures", "false")
    metrics: dict[str, float] = json.loads(written.read_text())
    return metrics


def run(*words: str, quiet: bool = False) -> None:
    """Runs a command; if it is to be quiet, what it prints on standard output is left out."""
    output = subprocess.DEVNULL if quiet else None
    subprocess.run([sys.executable, "-m", "multilabel_pl", *words], check=True, stdout=output)
