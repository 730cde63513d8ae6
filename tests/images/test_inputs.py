from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.errors import InputError
from multilabel_pl.images.inputs import batches_of
from multilabel_pl.task import Task

DIGITS = read_digits(ARCHIVES, "test").images[:7]
SHAPE = (1, 28, 28)


def load(images: Any, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return torch.cat(list(batches_of(images, Task((), shape), batch_size=3)))


def test_images_of_the_models_shape_are_taken_as_they_are() -> None:
    assert torch.equal(load(DIGITS), DIGITS)
    assert torch.equal(load(DIGITS.numpy()), DIGITS)
    assert torch.equal(load(list(DIGITS)), DIGITS)
    assert torch.equal(load(DIGITS[0]), DIGITS[:1])
    assert [len(batch) for batch in batches_of(DIGITS, Task((), SHAPE), 3)] == [3, 3, 1]


def test_all_kinds_of_input_give_the_same_image(tmp_path: Path) -> None:
    pixels = DIGITS[0, 0]
    path = tmp_path / "x.png"
    Image.fromarray(pixels.numpy()).save(path)
    colour = np.stack([pixels.numpy()] * 3, axis=-1)
    read_only = np.asarray(Image.open(path))
    kinds = [
        str(path),
        Image.open(path),
        read_only,
        np.flip(np.flip(pixels.numpy(), 1), 1),
        path,
        pixels,
        pixels.numpy(),
        pixels.numpy()[..., None],
        colour,
        torch.from_numpy(colour).permute(2, 0, 1),
    ]
    assert torch.equal(load(kinds), DIGITS[:1].expand(len(kinds), -1, -1, -1))
    assert torch.equal(load(str(path)), DIGITS[:1])
    assert torch.equal(load(np.stack([colour, colour])), DIGITS[:1].expand(2, -1, -1, -1))


def test_grey_and_colour_become_what_the_model_takes() -> None:
    large = torch.full((3, 90, 50), 7, dtype=torch.uint8)
    assert torch.equal(load(large), torch.full((1, 1, 28, 28), 7, dtype=torch.uint8))
    assert torch.equal(load(large[0], (3, 4, 5)), torch.full((1, 3, 4, 5), 7, dtype=torch.uint8))


def test_images_of_several_sizes_make_a_batch() -> None:
    assert load([torch.zeros(50, 40, dtype=torch.uint8), np.zeros((9, 9), np.uint8)]).shape == (2, 1, 28, 28)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 28, 28), "must be torch.uint8, in 0 to 255, got torch.float32"),
        ([np.zeros((5, 5), np.float64)], "must be torch.uint8, in 0 to 255, got torch.float64"),
        (torch.zeros(2, 28, 28, dtype=torch.uint8), r"with C of 1 or 3, got \(2, 28, 28\)"),
        (torch.zeros(28, dtype=torch.uint8), r"got \(28,\)"),
        (np.zeros((5, 0, 3), np.uint8), r"got \(5, 0, 3\)"),
        (np.zeros((1, 1, 1, 28, 28), np.uint8), r"got \(1, 1, 28, 28\)"),
        ("nothing.png", "there is no image at nothing.png"),
    ],
    ids=str,
)
def test_other_values_are_refused(images: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(images)
