"""Measures how long one image takes through a loaded model, beside onnxruntime: `python -m benchmarks.latency`.

The contenders take turns, some images each. Weights make no difference to the time, so the model is an untrained one.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
import torch
from torch import Tensor

from benchmarks.printing import table
from multilabel_pl import MNISTDataModule, MultiLabelClassifier
from multilabel_pl.export.exporting import export
from multilabel_pl.export.interface import as_input
from multilabel_pl.export.metadata import describe

TURN = 50  # images; onnxruntime's threads wait for a while after each, and would stand in the way of PyTorch's
CHECKED = 10
NETWORKS = ("conv_pool_dense", "conv_stack")


def contenders(model: MultiLabelClassifier, images: Tensor) -> dict[str, Callable[[Tensor], object]]:
    """Returns ways to tag an image, uint8 (1, C, H, W), by name."""
    task = model.task
    assert task is not None
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export(model, images[:CHECKED], path, describe(model))
        session = onnxruntime.InferenceSession(path)
    return {
        "`predict_images`": model.predict_images,
        "ONNX Runtime": lambda image: session.run(None, {"images": as_input(image, task).numpy()}),
    }


def milliseconds(ways: dict[str, Callable[[Tensor], object]], images: Tensor) -> dict[str, list[float]]:
    """Measures each way on each image."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in torch.split(images, TURN):
        for name, tag in ways.items():
            for image in torch.split(turn, 1):
                start = time.perf_counter()
                tag(image)
                taken[name].append(1000 * (time.perf_counter() - start))
    return {name: values[TURN:] for name, values in taken.items()}  # the first turn is to warm up


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    return parser


def main() -> None:
    """Measures and prints it all."""
    options = parser().parse_args()
    data = MNISTDataModule()
    data.setup("test")
    assert data.test_set is not None
    if not 2 <= options.images <= len(data.test_set) - TURN:
        parser().error(f"--images must be from 2 to {len(data.test_set) - TURN}, got {options.images}")
    images = data.test_set.images[: options.images + TURN]
    rows = []
    for network in NETWORKS:
        ways = contenders(MultiLabelClassifier(network=network, task=data.task), images)
        medians = map(statistics.median, milliseconds(ways, images).values())
        rows.append([f"`{network}`", *(f"{median:.2f}" for median in medians)])
    print("\n" + table(["milliseconds an image", *ways], rows))


if __name__ == "__main__":
    main()
