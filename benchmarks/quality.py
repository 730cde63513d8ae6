"""Measures how long it takes from a command to a good checkpoint; `python -m benchmarks.speed quality` prints it.

Each contender is a whole program in an empty folder: it starts, reads MNIST, trains, validates, and writes checkpoints.
They take turns, a seed each. Test images choose nothing: they say afterwards which checkpoint reaches a level.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.commands import CONFIGS, fit, fit_and_test
from benchmarks.printing import table
from benchmarks.to_quality.common import VERSIONS, checkpoints
from multilabel_pl.data.mnist import ARCHIVES, read_digits

ROOT = Path(__file__).parents[1]
SEEDS = 3
EPOCHS = 10  # the tutorial's
CYCLES = (3, 5)  # epochs of fastai's schedule
BACKENDS = ("tensorflow", "jax")
LEVELS = {"label accuracy": 0.9955, "exact match": 0.985}  # the first is the tutorial's


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint: how long it took from the command, and the metrics of the test images."""

    seconds: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Training:
    """What a contender does from one seed: its checkpoints in order, and the versions of its libraries."""

    checkpoints: list[Checkpoint]
    versions: str = ""

    def seconds_to(self, metric: str) -> float:
        """Returns when the first checkpoint reached the level of a metric; infinity if none did."""
        reached = (point.seconds for point in self.checkpoints if point.metrics[metric] >= LEVELS[metric])
        return next(reached, math.inf)


Program = Callable[[Path, int], Training]  # in an empty folder, from a seed


def ours(folder: Path, seed: int, config: str, *words: str) -> Training:
    """`fit` with a recipe, to the end of the command, and then `test`, which is not counted."""
    words = ("--config", str(CONFIGS / f"{config}.yaml"), "--seed_everything", str(seed), *words)
    start = time.perf_counter()
    fit(folder, *words)
    seconds = time.perf_counter() - start
    found = fit_and_test(folder, *words)
    return Training([Checkpoint(seconds, {name: found[f"test_{name.replace(' ', '_')}"] for name in LEVELS})])


def peer(folder: Path, seed: int, name: str, epochs: int, python: Path, backend: str = "") -> Training:
    """A program of `benchmarks.to_quality`, whose checkpoints have the times of their files."""
    command = [str(python), "-m", f"benchmarks.to_quality.{name}", str(ARCHIVES), str(epochs), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **({"KERAS_BACKEND": backend} if backend else {})}
    start = time.time()  # the clock of files
    with (folder / "log.txt").open("w") as log:
        subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=True)
    written = checkpoints(folder)
    points = [Checkpoint(path.stat().st_mtime - start, _metrics(path.with_suffix(".npy"))) for path in written]
    return Training(points, (folder / VERSIONS).read_text())


def _metrics(path: Path) -> dict[str, float]:
    """Returns the metrics of probabilities (N, 11) of the test images, at 0.5."""
    right = (np.load(path) >= 0.5) == read_digits(ARCHIVES, "test").targets.numpy().astype(bool)
    return {"label accuracy": float(right.mean()), "exact match": float(right.all(axis=1).mean())}


def contenders(keras_python: Path | None, fastai_python: Path | None) -> dict[str, Program]:
    """Returns all contenders for which a Python is given, by name.

    Raises:
        SystemExit: If there is none at a path.
    """
    for python in filter(None, (keras_python, fastai_python)):
        if not python.exists():
            sys.exit(f"error: there is no {python}: docs/benchmarks.md says how to create it")
    own = Path(sys.executable)
    found: dict[str, Program] = {
        "`fit --config record`": partial(ours, config="record"),
        "`fit --config fast`": partial(ours, config="fast"),
        "textbook PyTorch": partial(peer, name="pytorch_loop", epochs=EPOCHS, python=own),
        "textbook Lightning": partial(peer, name="lightning_module", epochs=EPOCHS, python=own),
    }
    if keras_python is not None:
        for backend in BACKENDS:
            tutorial = partial(peer, name="keras_tutorial", epochs=EPOCHS, python=keras_python.absolute())
            found[f"the tutorial on {backend}"] = partial(tutorial, backend=backend)
    if fastai_python is not None:
        for epochs in CYCLES:
            cycle = partial(peer, name="fastai_cycle", epochs=epochs, python=fastai_python.absolute())
            found[f"`fit_one_cycle({epochs})`"] = cycle
    return found


def measure(programs: dict[str, Program], seeds: int, results: Path | None = None) -> dict[str, list[Training]]:
    """Lets contenders train from each seed, one after the other.

    Args:
        programs: The contenders by name.
        seeds: How many.
        results: A file that keeps what is measured; what it has is not measured again.
    """
    kept = read_results(results) if results is not None and results.exists() else {}
    for seed in range(seeds):
        for name, program in programs.items():
            if (name, seed) in kept:
                continue
            with TemporaryDirectory() as folder:
                training = kept[name, seed] = program(Path(folder), seed)
            if results is not None:
                with results.open("a") as file:
                    file.write(json.dumps([name, seed, asdict(training)]) + "\n")
            print(f"seed {seed}: {', '.join(row(name, [training]))}", flush=True)
    return {name: [kept[name, seed] for seed in range(seeds)] for name in programs}


def read_results(path: Path) -> dict[tuple[str, int], Training]:
    """Reads trainings by contender and seed."""
    trainings = {}
    for line in path.read_text().splitlines():
        name, seed, content = json.loads(line)
        points = [Checkpoint(**point) for point in content["checkpoints"]]
        trainings[name, seed] = Training(points, content["versions"])
    return trainings


def row(name: str, trainings: list[Training], levels: Iterable[str] = LEVELS) -> list[str]:
    """Lays out when a contender has reached levels, when it ended, and what it had reached then."""
    times = [[training.seconds_to(metric) for training in trainings] for metric in levels]
    times.append([training.checkpoints[-1].seconds for training in trainings])
    ends = [[training.checkpoints[-1].metrics[metric] for training in trainings] for metric in LEVELS]
    return [name, *map(spread, times), *(f"{statistics.mean(end):.4f}" for end in ends)]


def spread(seconds: list[float]) -> str:
    """Formats the median of times, the least and the most; what is not reached takes for ever."""
    median, *ends = (
        f"{value:.1f}" if value < math.inf else "–"
        for value in (statistics.median(seconds), min(seconds), max(seconds))
    )
    return median if median == "–" and ends == ["–", "–"] else f"{median} ({' to '.join(ends)})"


def measure_quality(
    seeds: int, keras_python: Path | None, fastai_python: Path | None, results: Path | None = None
) -> None:
    """Prints the seconds from the command to each level and to the end, and what is reached then; see `measure`."""
    trainings = measure(contenders(keras_python, fastai_python), seeds, results)
    every = [training for each in trainings.values() for training in each]
    reached = [metric for metric in LEVELS if any(training.seconds_to(metric) < math.inf for training in every)]
    for metric in LEVELS.keys() - reached:
        print(f"\nNone reaches {metric} {LEVELS[metric]}.")
    times = [f"to {metric} {LEVELS[metric]}" for metric in reached]
    header = ["seconds from the command", *times, "to the end", *LEVELS]
    print("\n" + table(header, [row(name, each, reached) for name, each in trainings.items()]))
    versions = {version for training in every for version in training.versions.split(", ") if version}
    print(f"\nVersions: {', '.join(sorted(versions))}", flush=True)
