"""How results spread over runs; shared by the benchmarks."""

import statistics
from collections.abc import Sequence


def mean_and_spread(values: Sequence[float]) -> str:
    """Formats the mean and the standard deviation of several runs; the mean alone if they are all the same."""
    spread = statistics.stdev(values)
    return f"{statistics.mean(values):.4f}" + (f" ± {spread:.4f}" if spread else "")
