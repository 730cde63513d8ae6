"""How well digits are read from photographs: `python -m benchmarks.photographs`, four minutes on two cores.

Lays every test image on a page, photographs it, and predicts the files as the command line does, with a model that the
recipe `fast` has trained.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.commands import CONFIGS, fit
from benchmarks.printing import table
from multilabel_pl import ImageFilesDataModule, MNISTDataModule, MultiLabelClassifier
from multilabel_pl.training.trainer import Trainer
from tests.images.photograph import photograph


def png(pixels: Tensor) -> bytes:
    """Returns grey pixels (1, H, W) as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels[0].numpy()).save(file, "PNG")
    return file.getvalue()


KINDS: dict[str, Callable[[Tensor, np.random.Generator], bytes]] = {
    "as PNG files": lambda digit, rng: png(digit),
    "inverted, dark on light": lambda digit, rng: png(255 - digit),
    "pen on paper, photographed": photograph,
    "chalk on a board, photographed": lambda digit, rng: photograph(digit, rng, light_on_dark=True),
}


def predict(
    model: MultiLabelClassifier, make: Callable[[Tensor, np.random.Generator], bytes], images: Tensor
) -> tuple[Tensor, float]:
    """Photographs each image, and returns the tags predicted from the files and the seconds that it took."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for index, digit in enumerate(images):
            (Path(folder) / f"{index:05}.png").write_bytes(make(digit, rng))  # what kind it is, its bytes say
        quiet = Trainer(logger=False, enable_progress_bar=False)
        start = time.perf_counter()
        data = ImageFilesDataModule(folder)
        quiet.predict(model, datamodule=data, output=str(Path(folder) / "predictions.csv"))
        seconds = time.perf_counter() - start
    return torch.cat([batch.tags for batch in quiet.predict_loop.predictions]), seconds


def exact_match(tags: Tensor, targets: Tensor) -> float:
    """Returns the share of images (N) whose tags (N, L) are all right."""
    return (tags == targets).all(dim=1).float().mean().item()


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, help="another model's checkpoint")
    parser.add_argument("--root", type=Path, default=Path("runs/photographs"), help="folder of the run")
    parser.add_argument("--images", type=int, default=10_000, help="how many test images")
    return parser


def main() -> None:
    """Prints a table of the exact match of each kind of photographs."""
    options = parser().parse_args()
    path = options.ckpt_path or fit(options.root, "--config", str(CONFIGS / "fast.yaml"))
    model = MultiLabelClassifier.load_from_checkpoint(path)
    data = MNISTDataModule()
    data.setup("test")
    assert data.test_set is not None
    images, targets = (part[: options.images] for part in (data.test_set.images, data.test_set.targets.bool()))
    with torch.inference_mode():
        tags = torch.cat([model(batch).sigmoid() for batch in torch.split(images, 250)]) >= model.decision.thresholds
    rows = [["the test images themselves, not from files", f"{exact_match(tags, targets):.4f}", ""]]
    for name, make in KINDS.items():
        tags, seconds = predict(model, make, images)
        rows.append([name, f"{exact_match(tags, targets):.4f}", f"{len(images) / seconds:.0f}"])
    print("\n" + table(["test images", "exact match", "files a second"], rows))


if __name__ == "__main__":
    main()
