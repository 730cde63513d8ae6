"""Programs take images as they are, in an environment that has neither this package nor PyTorch."""

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from multilabel_pl import MultiLabelClassifier, Task
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.export.exporting import export
from multilabel_pl.export.metadata import describe
from multilabel_pl.export.reader import reader_path
from tests.images.photograph import odd_metadata, photograph

PORTRAIT = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
RUN = """
import json
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("multilabel_pl", "torch", "torchvision", "lightning"):
            raise ImportError(name)

sys.meta_path.insert(0, Nothing())
sys.path.insert(0, ".")
import onnxruntime
from read_for_model import read

session = onnxruntime.InferenceSession("model.onnx")
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
answers = []
for file in sys.argv[1:]:
    try:
        images = read(file)[None]
    except ValueError as error:
        answers.append(str(error))
    else:
        [probabilities], [tags] = session.run(["probabilities", "tags"], {"images": images})
        answers.append([probabilities.tolist(), [labels[i] for i in tags.nonzero()[0]]])
print(json.dumps(answers))
"""


def run_without_the_package(files: Sequence[Path]) -> list[Any]:
    """Returns what the program model.onnx, and its reader, make of image files: probabilities and tags, or an error."""
    command = [sys.executable, "-I", "-c", RUN, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


def photos(count: int) -> list[Path]:
    """Writes parts of a photo in many sizes, modes and formats."""
    rng = np.random.default_rng(0)
    portrait = Image.open(PORTRAIT)
    files = []
    for number in range(count):
        width, height = rng.integers(1, portrait.size)
        left, top = rng.integers(0, np.array(portrait.size) - (width, height) + 1)
        part = portrait.crop((left, top, left + width, top + height))
        if number % 7 == 3:
            part = part.resize((int(width * 2.5), int(height * 2.5)))
        file = Path(f"{number}.{('jpg', 'png', 'webp')[number % 3]}")
        if number % 5 == 1:
            part = part.convert("L")
        if number % 5 == 2 and file.suffix == ".png":
            part.putalpha(part.convert("L"))
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8  # one of eight ways to lie
        part.save(file, exif=exif)
        files.append(file)
    deep = Image.fromarray((np.array(portrait.convert("L")).astype(np.uint16) << 8) + 77)
    deep.save("deep.png")
    portrait.save("odd.jpg", exif=odd_metadata(6))
    return [*files, Path("deep.png"), Path("odd.jpg")]


@pytest.mark.parametrize(
    ("channels", "count"),
    [(3, 24), pytest.param(3, 500, marks=pytest.mark.slow), pytest.param(1, 500, marks=pytest.mark.slow)],
)
def test_a_reader_resizes_and_refuses_as_predict_does(channels: int, count: int, workplace: Path) -> None:
    torch.manual_seed(0)
    task = Task(["cat", "$x$", "猫", "≥5"], (channels, 48, 64), background="#336699")
    model = MultiLabelClassifier(network="conv_stack", task=task)
    model.decision.thresholds.uniform_(0.3, 0.7)
    export(model, torch.randint(256, (4, channels, 48, 64), dtype=torch.uint8), Path("model.onnx"), describe(model))
    files = photos(count)
    Image.new("RGB", (9, 9)).save("page.eps")
    Image.fromarray(np.ones((9, 9), np.float32)).save("float.tif")
    *answers, refusal, unknown = run_without_the_package([*files, Path("page.eps"), Path("float.tif")])
    assert refusal == "this format is a program, which is not run"
    assert unknown.startswith("floating-point pixels have no known range")
    for answer, prediction in zip(answers, model.predict_images(files), strict=True):
        probabilities, tags = answer
        expected = np.array(list(prediction.probabilities.values()))
        np.testing.assert_allclose(probabilities, expected, atol=1e-3, rtol=0)
        if (np.abs(expected - model.decision.thresholds.numpy()) > 1e-3).all():
            assert tags == prediction.tags


@pytest.mark.parametrize("count", [10, pytest.param(500, marks=pytest.mark.slow)])
def test_a_reader_finds_the_digit_on_a_page_as_predict_does(count: int, small_run: Path, workplace: Path) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(small_run / "best.ckpt")
    assert model.task is not None
    model.task = replace(model.task, preprocessing="mnist")  # those of the small set are resized
    digits = read_digits(ARCHIVES, "test").images[:count]
    export(model, digits, Path("model.onnx"), describe(model))
    rng = np.random.default_rng(0)
    files = [Path(f"{number}.jpg") for number in range(count)]
    for number, (digit, file) in enumerate(zip(digits, files, strict=True)):
        image = Image.open(io.BytesIO(photograph(digit, rng, light_on_dark=number % 2 == 1)))
        image.resize(rng.integers(100, 900, 2)).save(file)
    Image.new("RGB", (90, 70), "beige").save("blank.png")
    *answers, blank = run_without_the_package([*files, Path("blank.png")])
    assert blank == "no digit found: the page looks blank"
    for answer, prediction in zip(answers, model.predict_images(files), strict=True):
        expected = list(prediction.probabilities.values())
        np.testing.assert_allclose(answer[0], expected, atol=1e-3, rtol=0)


def test_the_name_of_a_reader_can_be_imported() -> None:
    assert reader_path(Path("runs", "épi-2 1².onnx")) == Path("runs", "read_for_épi_2_1_.py")
