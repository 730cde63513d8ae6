"""Measures the recipes that go beyond the tutorial: `python benchmarks/recipes.py`.

Trains configs/fast.yaml and configs/best.yaml from three seeds each and prints what `test` finds, as Markdown tables.
"""

import argparse
import os
from datetime import date
from pathlib import Path

from commands import fit_and_test

CONFIGS = Path(__file__).parent.parent / "configs"
RECIPES = ("fast", "best")
METRICS = {
    "label accuracy": "test_label_accuracy",
    "exact match": "test_exact_match",
    "exact match at 0.5": "test_exact_match_at_half",
    "macro F1": "test_f1_macro",
}


def measure(recipe: str, root: Path) -> None:
    """Trains, evaluates and prints."""
    config = CONFIGS / f"{recipe}.yaml"
    folders = {seed: root / recipe / f"seed_{seed}" for seed in range(3)}
    results = {seed: fit_and_test(config, folder, "--seed_everything", str(seed)) for seed, folder in folders.items()}
    print(f"\nconfigs/{config.name}, measured on {date.today():%Y-%m-%d} on {os.cpu_count()} CPU cores:\n")
    print(f"| seed | {' | '.join(METRICS)} |\n|---|{'---|' * len(METRICS)}")
    for seed, metrics in results.items():
        print(f"| {seed} | {' | '.join(f'{metrics[name]:.4f}' for name in METRICS.values())} |")


def main() -> None:
    """Measures one recipe, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, default=Path("runs/recipes"), help="folder of the runs")
    parser.add_argument("--only", choices=RECIPES, help="one recipe alone")
    options = parser.parse_args()
    for recipe in RECIPES:
        if options.only in (None, recipe):
            measure(recipe, options.root)


if __name__ == "__main__":
    main()
