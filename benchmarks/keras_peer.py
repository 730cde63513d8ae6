"""The tutorial's intended network in Keras, an epoch at a time; `speed training --keras-python` runs it.

It needs keras and a backend, and nothing of the package. `python -m benchmarks.keras_peer FOLDER` reads MNIST's
archives in the folder, prints "ready" before every epoch and waits for a line; it ends with its input.
"""

import sys
from contextlib import redirect_stdout
from pathlib import Path

import keras

from benchmarks.to_quality.common import BATCH, read
from benchmarks.to_quality.keras_tutorial import tutorial_model


def main() -> None:
    """Trains, an epoch at a time."""
    images, targets = read(Path(sys.argv[1]), "train")
    pipe = sys.stdout

    def wait(epoch: int, logs: dict[str, float] | None) -> None:
        print("ready", file=pipe, flush=True)
        if not sys.stdin.readline():
            sys.exit()

    turns = keras.callbacks.LambdaCallback(wait)
    with redirect_stdout(sys.stderr):  # the progress bar
        tutorial_model().fit(images[..., None], targets, batch_size=BATCH, epochs=1000, callbacks=[turns])


if __name__ == "__main__":
    main()
