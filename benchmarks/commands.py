"""The package's commands, run as a user would; shared by the benchmarks."""

import json
import subprocess
import sys
from pathlib import Path

from multilabel_pl.training.runs import find_checkpoint


def fit_and_test(config: Path, root: Path, *options: str) -> dict[str, float]:
    """Trains from a config, tests the best checkpoint, and returns the metrics that `test` wrote.

    Args:
        config: The YAML file.
        root: Folder of the runs.
        *options: More words for `fit`.
    """
    for command in (["fit", "--config", str(config), *options], ["test"]):
        words = [sys.executable, "-m", "multilabel_pl", *command, "--trainer.default_root_dir", str(root)]
        subprocess.run(words, check=True)
    written = find_checkpoint(root, "best").parent / "test" / "metrics.json"
    metrics: dict[str, float] = json.loads(written.read_text())
    return metrics
