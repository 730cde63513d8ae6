"""The tutorial's intended network as Keras's own examples train one, on the backend that KERAS_BACKEND names."""

import importlib
from pathlib import Path

import keras
import numpy as np
from keras import layers

from benchmarks.to_quality.common import (
    BATCH,
    NUM_LABELS,
    SIDE,
    VALIDATION,
    Arguments,
    checkpoints,
    read,
    write_versions,
)


def tutorial_model() -> keras.Model:
    """Returns the model, compiled."""
    model = keras.Sequential(
        [
            keras.Input(shape=(SIDE, SIDE, 1)),
            layers.Conv2D(32, kernel_size=3, padding="same", activation="relu"),
            layers.MaxPooling2D(pool_size=2),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(NUM_LABELS, activation="sigmoid"),
        ]
    )
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def main() -> None:
    """Trains."""
    arguments = Arguments.read()
    keras.utils.set_random_seed(arguments.seed)
    images, targets = read(arguments.archives, "train")
    model = tutorial_model()
    saved = keras.callbacks.ModelCheckpoint("epoch_{epoch}.keras")
    share = VALIDATION / len(images)
    model.fit(
        images[..., None],
        targets,
        batch_size=BATCH,
        epochs=arguments.epochs,
        validation_split=share,
        callbacks=[saved],
    )
    backend = keras.backend.backend()
    write_versions({"Keras": keras.__version__, backend: importlib.import_module(backend).__version__})
    test_images = read(arguments.archives, "t10k")[0][..., None]
    for path in checkpoints(Path()):
        np.save(path.with_suffix(".npy"), keras.saving.load_model(path).predict(test_images))


if __name__ == "__main__":
    main()
