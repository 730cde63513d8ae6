"""What the guide to your own images reaches: `python -m benchmarks.own_images`, ten minutes on two cores.

Trains and tests as the guide does, on the images that its code writes: five times with other initial weights and
another order of the images, and five times with another split. Prints what both reach at 0.5 and at the thresholds that
are learned.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.commands import fit_and_test
from benchmarks.printing import table
from benchmarks.spread import mean_and_spread

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "own_images.md"
SEEDS = range(5)
SEED_OPTIONS = ("--seed_everything", "--data.split_seed")
METRICS = {"exact match": "test_exact_match", "macro F1": "test_f1_macro"}


def write_images(root: Path) -> Path:
    """Runs the guide's code, which writes images and their table, unless that has been done; returns the table."""
    written = root / "scenes.csv"
    if not written.exists():
        root.mkdir(parents=True)
        [code] = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
    return written


def measure(images: Path, option: str, seed: int) -> dict[str, float]:
    """Trains and tests with one of the two seeds; both are 0 unless set, and that run serves for both."""
    seeds = {**dict.fromkeys(SEED_OPTIONS, 0), option: seed}
    folder = "_".join(f"{name.rpartition('.')[2].strip('-')}_{value}" for name, value in seeds.items())
    words = [word for name, value in seeds.items() for word in (name, str(value))]
    return fit_and_test(images.parent / folder, str(images), *words)


def row(option: str, metric: str, runs: list[dict[str, float]]) -> list[str]:
    """Lays out a metric of the runs that differ by a seed as a row of the table."""
    half, learned = ([run[name] for run in runs] for name in (f"{METRICS[metric]}_at_half", METRICS[metric]))
    gain = [after - before for before, after in zip(half, learned, strict=True)]
    return [f"`{option}`", metric, *map(mean_and_spread, (half, learned, gain))]


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/own_images"), help="folder of the images and runs")
    return parser


def main() -> None:
    """Trains, tests and prints."""
    images = write_images(parser().parse_args().root)
    runs = {option: [measure(images, option, seed) for seed in SEEDS] for option in SEED_OPTIONS}
    rows = [row(option, metric, each) for option, each in runs.items() for metric in METRICS]
    print("\n" + table([f"{len(SEEDS)} runs that differ by", "metric", "at 0.5", "by `f1`", "gain"], rows))


if __name__ == "__main__":
    main()
