"""Which network for how many images: `python -m benchmarks.networks`, a quarter of an hour on two cores.

Trains networks on few and on many scenes, from two seeds each, for the same number of epochs, and prints what they
reach on 10,000 test scenes.
"""

import argparse
from pathlib import Path

from benchmarks.commands import CONFIGS, fit_and_test
from benchmarks.printing import table
from benchmarks.spread import mean_and_spread

SEEDS = range(2)
RATES = {"conv_pool_dense": 0.001, "conv_stack": 0.004}
EPOCHS = {300: 60, 3000: 20, 30_000: 3}  # by the number of training scenes
METRIC = "test_exact_match"


def measure(network: str, size: int, root: Path) -> str:
    """Trains and tests a network on so many scenes, and lays out what it reaches."""
    options = {
        "config": CONFIGS / "scenes.yaml",
        "data.train_size": size,
        "data.val_size": 300,
        "data.batch_size": 64,
        "model.network": network,
        "model.lr": RATES[network],
        "trainer.max_epochs": EPOCHS[size],
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    folders = {seed: root / f"{network}_{size}" / f"seed_{seed}" for seed in SEEDS}
    runs = [fit_and_test(folder, *words, "--seed_everything", str(seed)) for seed, folder in folders.items()]
    return mean_and_spread([run[METRIC] for run in runs])


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/networks"), help="folder of the runs")
    return parser


def main() -> None:
    """Trains, tests and prints."""
    root = parser().parse_args().root
    rows = [[f"`{network}`", *(measure(network, size, root) for size in EPOCHS)] for network in RATES]
    print("\n" + table(["exact match from", *(f"{size:,} scenes" for size in EPOCHS)], rows))


if __name__ == "__main__":
    main()
