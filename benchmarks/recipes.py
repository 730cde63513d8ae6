"""Measures the recipes that go beyond the tutorial: `python benchmarks/recipes.py`, one minute on two idle cores.

Trains configs/fast.yaml from three seeds and prints what `test` finds, as a Markdown table.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

CONFIG = Path(__file__).parent.parent / "configs" / "fast.yaml"
METRICS = ("test_label_accuracy", "test_exact_match", "test_f1_macro")


def train_and_test(seed: int, root: Path) -> list[float]:
    """Runs `fit` and `test` as a user would, and returns METRICS."""
    place = ["--trainer.default_root_dir", str(root / f"seed_{seed}")]
    for command in (["fit", "--config", str(CONFIG), "--seed_everything", str(seed)], ["test"]):
        subprocess.run([sys.executable, "-m", "multilabel_pl", *command, *place], check=True)
    newest = max((root / f"seed_{seed}").glob("version_*/test/metrics.json"), key=lambda path: path.stat().st_mtime)
    metrics = json.loads(newest.read_text())
    return [metrics[name] for name in METRICS]


def main() -> None:
    """Trains, evaluates and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, default=Path("runs/recipes"), help="folder of the runs")
    root: Path = parser.parse_args().root
    results = {seed: train_and_test(seed, root) for seed in range(3)}
    print(f"\nconfigs/{CONFIG.name}, measured on {date.today():%Y-%m-%d} on {os.cpu_count()} CPU cores:\n")
    print("| seed | label accuracy | exact match | macro F1 |\n|---|---|---|---|")
    for seed, values in results.items():
        print(f"| {seed} | {' | '.join(f'{value:.4f}' for value in values)} |")


if __name__ == "__main__":
    main()
