import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.errors import InputError
from multilabel_pl.images.preprocessing import prepare
from multilabel_pl.task import Task
from tests.images.photograph import photograph

DIGITS = read_digits(ARCHIVES, "train").images[:200]


def mnist_style(image: Tensor, height: int = 28, width: int = 28) -> Tensor:
    """Brings a grey image (1, H, W) to the shape of MNIST's."""
    return prepare(image, Task((), (1, height, width), "mnist"))


def difference(image: Tensor, digit: Tensor) -> float:
    """How far two images (1, 28, 28) are apart, as a share of the second's ink."""
    return float((image.float() - digit.float()).abs().sum() / digit.float().sum())


@pytest.mark.parametrize("light_on_dark", [True, False])
def test_mnists_own_images_stay_as_they_are(light_on_dark: bool) -> None:
    differences = [difference(mnist_style(digit if light_on_dark else 255 - digit), digit) for digit in DIGITS]
    assert np.median(differences) < 0.05
    assert np.quantile(differences, 0.95) < 0.35  # a centre of mass halfway between two pixels moves by one


@pytest.mark.parametrize("light_on_dark", [True, False])
def test_photographs_come_near_what_was_photographed(light_on_dark: bool) -> None:
    rng = np.random.default_rng(0)
    differences = []
    for digit in DIGITS[:60]:
        file = io.BytesIO(photograph(digit, rng, light_on_dark))
        image = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
        differences.append(difference(mnist_style(image), digit))
    assert np.median(differences) < 0.35
    untouched = difference(F.interpolate(image[None].float(), size=(28, 28))[0].mean(0, keepdim=True), digit)
    assert untouched > 1  # what a mere resizing would be


@pytest.mark.parametrize("scale", [1, 2.5, 40])
def test_the_size_of_the_page_does_not_matter(scale: float) -> None:
    digit = DIGITS[0]
    large = F.interpolate(255 - digit[None], scale_factor=scale, mode="nearest")[0]
    assert difference(mnist_style(large), digit) < 0.3


def test_the_digit_fills_its_box_and_its_mass_is_centred() -> None:
    page = torch.full((1, 300, 400), 250, dtype=torch.uint8)
    page[:, 20:140, 300:330] = 30  # a bar, 120 high and 30 wide
    form = mnist_style(page)[0]
    rows, columns = (form > 100).any(dim=1).nonzero(), (form > 100).any(dim=0).nonzero()
    assert (len(rows), len(columns)) == (20, 5)
    assert (rows.float().mean().item(), columns.float().mean().item()) == (13.5, 14)


def test_other_sizes_are_in_proportion() -> None:
    form = mnist_style(255 - DIGITS[0], 56, 84)
    assert form.shape == (1, 56, 84)
    assert len((form[0] > 100).any(dim=1).nonzero()) in range(38, 42)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2), (200, 300)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_page_has_no_digit(size: tuple[int, int], level: int) -> None:
    with pytest.raises(InputError, match="no digit found: the page looks blank"):
        mnist_style(torch.full((1, *size), level, dtype=torch.uint8))


def test_a_blank_but_noisy_page_has_no_digit() -> None:
    noise = np.random.default_rng(0).normal(220, 3, (1, 300, 300)).clip(0, 255)
    with pytest.raises(InputError, match="no digit found"):
        mnist_style(torch.from_numpy(noise).to(torch.uint8))


@pytest.mark.parametrize("size", [(1, 2), (3, 1), (2, 5), (7, 7)])
def test_tiny_images_do_no_harm(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        pixels = torch.from_numpy(rng.integers(0, 256, (1, *size), dtype=np.uint8))
        try:
            assert mnist_style(pixels).shape == (1, 28, 28)
        except InputError as error:
            assert str(error) == "no digit found: the page looks blank"  # noqa: PT017, either is right
