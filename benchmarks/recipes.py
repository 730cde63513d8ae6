"""Measures the recipes that train the tutorial's network: `python -m benchmarks.recipes`, an hour on two cores.

Trains each from three seeds, and prints what `test` finds; `best` takes nearly all of the time.
"""

import argparse
from pathlib import Path

from benchmarks.commands import CONFIGS, fit_and_test
from benchmarks.printing import table
from benchmarks.spread import mean_and_spread

RECIPES = ("sigmoid", "fast", "best")
SEEDS = range(3)
METRICS = {
    "label accuracy": "test_label_accuracy",
    "exact match": "test_exact_match",
    "exact match at 0.5": "test_exact_match_at_half",
    "macro F1": "test_f1_macro",
}


def measure(recipe: str, root: Path) -> list[str]:
    """Trains and tests a recipe from all seeds, and lays out what it reaches as a row of the table."""
    words = ("--config", str(CONFIGS / f"{recipe}.yaml"), "--seed_everything")
    runs = [fit_and_test(root / recipe / f"seed_{seed}", *words, str(seed)) for seed in SEEDS]
    return [f"`{recipe}`", *(mean_and_spread([run[name] for run in runs]) for name in METRICS.values())]


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(RECIPES)}; all if none is named")
    parser.add_argument("--root", type=Path, default=Path("runs/recipes"), help="folder of the runs")
    return parser


def main() -> None:
    """Measures some recipes, or all."""
    options = parser().parse_args()
    rows = [measure(recipe, options.root) for recipe in options.recipes or RECIPES]
    print("\n" + table(["recipe", *METRICS], rows))


if __name__ == "__main__":
    main()
