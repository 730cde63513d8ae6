"""The tutorial's intended network in Keras, as Keras's own examples write one; `speed --keras-python` runs it.

It needs keras and a backend, and nothing of this project. `keras_peer.py FOLDER` reads MNIST's archives in the folder,
says "ready" before every epoch and waits for a line; it ends with its input.
"""

import gzip
import sys
from contextlib import redirect_stdout
from pathlib import Path

import keras
import numpy as np
from keras import layers

DIGITS, GREATER_EQUAL = 10, 5


def read(path: Path, header: int) -> np.ndarray:
    """Reads the bytes of an IDX file after its header."""
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def main() -> None:
    """Trains, an epoch at a time."""
    folder = Path(sys.argv[1])
    images = read(folder / "train-images-idx3-ubyte.gz", header=16).reshape(-1, 28, 28, 1).astype("float32") / 255
    digits = read(folder / "train-labels-idx1-ubyte.gz", header=8)
    targets = np.column_stack([keras.utils.to_categorical(digits, DIGITS), digits >= GREATER_EQUAL])
    model = keras.Sequential(
        [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(32, kernel_size=3, padding="same", activation="relu"),
            layers.MaxPooling2D(pool_size=2),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(DIGITS + 1, activation="sigmoid"),
        ]
    )
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    pipe = sys.stdout

    def wait(epoch: int, logs: dict[str, float] | None) -> None:
        print("ready", file=pipe, flush=True)
        if not sys.stdin.readline():
            sys.exit()

    with redirect_stdout(sys.stderr):  # the progress bar
        model.fit(images, targets, batch_size=64, epochs=1000, callbacks=[keras.callbacks.LambdaCallback(wait)])


if __name__ == "__main__":
    main()
