"""What all peers share: their arguments, and MNIST as arrays."""

import gzip
import sys
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

DIGITS, LARGE_DIGIT, SIDE = 10, 5, 28
NUM_LABELS = DIGITS + 1
VALIDATION = 5_000  # of the 60,000 images
BATCH, LEARNING_RATE, EPSILON = 64, 1e-3, 1e-7  # the tutorial's, which are Keras's defaults but for the batch
VERSIONS = "versions.txt"


class Arguments(NamedTuple):
    """What a peer is started with."""

    archives: Path
    epochs: int
    seed: int

    @classmethod
    def read(cls) -> "Arguments":
        """Returns those of this process."""
        _, archives, epochs, seed = sys.argv
        return cls(Path(archives), int(epochs), int(seed))


def read(archives: Path, part: Literal["train", "t10k"]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Reads images (N, 28, 28) in [0, 1], and targets (N, 11): the digits, and `≥5`."""
    pixels = _bytes(archives / f"{part}-images-idx3-ubyte.gz", header=16).reshape(-1, SIDE, SIDE)
    digits = _bytes(archives / f"{part}-labels-idx1-ubyte.gz", header=8)
    targets = np.column_stack([np.eye(DIGITS)[digits], digits >= LARGE_DIGIT])
    return pixels.astype(np.float32) / 255, targets.astype(np.float32)


def _bytes(path: Path, header: int) -> NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, by epoch, which is the number at the end of their names."""
    paths = [path for path in folder.glob("epoch_*") if path.suffix != ".npy"]
    return sorted(paths, key=lambda path: int(path.stem.rpartition("_")[2]))


def write_versions(versions: dict[str, str]) -> None:
    """Writes the versions of libraries, by name, for the table."""
    Path(VERSIONS).write_text(", ".join(f"{name} {version}" for name, version in versions.items()))
