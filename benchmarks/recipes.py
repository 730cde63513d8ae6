"""Measures the recipes that go beyond the tutorial: `python benchmarks/recipes.py`, one minute on two idle cores.

Trains configs/fast.yaml from three seeds and prints what `test` finds, as a Markdown table.
"""

import argparse
import os
from datetime import date
from pathlib import Path

from commands import fit_and_test

CONFIG = Path(__file__).parent.parent / "configs" / "fast.yaml"
METRICS = ("test_label_accuracy", "test_exact_match", "test_f1_macro")


def main() -> None:
    """Trains, evaluates and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, default=Path("runs/recipes"), help="folder of the runs")
    root: Path = parser.parse_args().root
    results = {seed: fit_and_test(CONFIG, root / f"seed_{seed}", "--seed_everything", str(seed)) for seed in range(3)}
    print(f"\nconfigs/{CONFIG.name}, measured on {date.today():%Y-%m-%d} on {os.cpu_count()} CPU cores:\n")
    print("| seed | label accuracy | exact match | macro F1 |\n|---|---|---|---|")
    for seed, metrics in results.items():
        print(f"| {seed} | {' | '.join(f'{metrics[name]:.4f}' for name in METRICS)} |")


if __name__ == "__main__":
    main()
