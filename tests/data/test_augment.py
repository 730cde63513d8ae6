import pytest
import torch

from multilabel_pl.data.augment import shift_and_rotate
from multilabel_pl.data.mnist import ARCHIVES, read_digits


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return read_digits(ARCHIVES, "test").images[:200]


def centres(images: torch.Tensor) -> torch.Tensor:
    """Centres of mass (B, 2), in pixels."""
    mass = images.float().squeeze(1)
    places = torch.arange(images.shape[-1], dtype=torch.float32)
    total = mass.sum((1, 2))
    return torch.stack([(mass.sum(1) * places).sum(1) / total, (mass.sum(2) * places).sum(1) / total], dim=1)


def test_nothing_asked_changes_nothing(images: torch.Tensor) -> None:
    assert torch.equal(shift_and_rotate(images, max_shift=0, max_rotation=0), images)


def test_a_shift_moves_each_image_by_its_own_amount_up_to_the_largest(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    moved = centres(shift_and_rotate(images, max_shift=2, max_rotation=0)) - centres(images)
    assert moved.abs().max() <= 2.1
    assert moved.min() < -1.5
    assert moved.max() > 1.5
    assert moved.mean().abs() < 0.2


@pytest.mark.parametrize("shape", [(21, 21), (21, 41)])
def test_a_rotation_turns_a_line_about_the_centre_without_bending_it(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    height, width = shape
    line = torch.zeros(100, 1, height, width, dtype=torch.uint8)
    line[:, :, height // 2, 5 : width - 5] = 255
    turned = shift_and_rotate(line, max_shift=0, max_rotation=30).float().squeeze(1)
    rows, columns = torch.meshgrid(torch.arange(height) - height // 2, torch.arange(width) - width // 2, indexing="ij")
    total = turned.sum((1, 2))
    moments = [(turned * product).sum((1, 2)) / total for product in (columns**2, rows**2, rows * columns)]
    angle = 0.5 * torch.atan2(2 * moments[2], moments[0] - moments[1]).rad2deg()
    assert 25 < angle.max() <= 31
    assert -31 <= angle.min() < -25
    length = (moments[0] + moments[1]).sqrt()
    torch.testing.assert_close(length, length.mean().expand(100), rtol=0.05, atol=0)  # no stretching with the angle
