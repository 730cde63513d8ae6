"""Measures how long one image takes through a loaded model, beside onnxruntime: `python benchmarks/latency.py`.

The contenders take turns, some images each. Weights make no difference to the time, so the model is an untrained one.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
import torch
from torch import Tensor

from multilabel_pl import MNISTDataModule, MultiLabelClassifier
from multilabel_pl.results.export import export

TURN = 50  # images; onnxruntime's threads wait for a while after each, and would stand in the way of PyTorch's
CHECKED = 10


def contenders(model: MultiLabelClassifier, images: Tensor) -> dict[str, Callable[[Tensor], object]]:
    """Returns ways to tag an image, uint8 (1, C, H, W), by name."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export(model, images[:CHECKED], path)
        session = onnxruntime.InferenceSession(path)
    return {
        "`predict_images`, which names the tags": model.predict_images,
        "onnxruntime": lambda image: session.run(None, {"images": image.numpy()}),
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


def main() -> None:
    """Measures and prints it all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=1000)
    options = parser.parse_args()
    data = MNISTDataModule()
    data.setup("test")
    assert data.test_set is not None
    if not 2 <= options.images <= len(data.test_set) - TURN:
        parser.error(f"--images must be from 2 to {len(data.test_set) - TURN}, got {options.images}")
    images = data.test_set.images[: options.images + TURN]
    print(f"{date.today():%Y-%m-%d}, {torch.get_num_threads()} threads, {options.images} images one by one\n")
    print("| one image | median ms | 95th percentile |\n|---|---|---|")
    for network in ("conv_pool_dense", "conv_stack"):
        model = MultiLabelClassifier(network=network, task=data.task)
        for name, values in milliseconds(contenders(model, images), images).items():
            high = statistics.quantiles(values, n=20)[-1]
            print(f"| {network}: {name} | {statistics.median(values):.2f} | {high:.2f} |")


if __name__ == "__main__":
    main()
