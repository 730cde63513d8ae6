"""Cross-validation: `python -m benchmarks.folds scenes.csv --folds 5 --model.network resnet18`.

Trains and tests once for each part that the images are divided into, each of which tests one of the models, and prints
the mean and the standard deviation over these. Options that are not named below are those of `fit`.
"""

import argparse
from pathlib import Path

from benchmarks.commands import fit_and_test
from benchmarks.printing import table
from benchmarks.spread import mean_and_spread

METRICS = {
    "exact match": "test_exact_match",
    "label accuracy": "test_label_accuracy",
    "macro F1": "test_f1_macro",
}


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="of the images, or what does as well")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--root", type=Path, default=Path("runs/folds"), help="folder of the runs, one for each fold")
    return parser


def main() -> None:
    """Trains, tests and prints."""
    options, words = parser().parse_known_args()
    runs = []
    for fold in range(options.folds):
        own = ["--data.folds", str(options.folds), "--data.fold", str(fold)]
        runs.append(fit_and_test(options.root / f"{fold}_of_{options.folds}", options.table, *own, *words))
    rows = []
    for name, metric in METRICS.items():
        both = [[run[each] for run in runs] for each in (f"{metric}_at_half", metric)]
        rows.append([name, *map(mean_and_spread, both)])
    print("\n" + table([f"{options.folds} folds", "at 0.5", "at learned thresholds"], rows))


if __name__ == "__main__":
    main()
