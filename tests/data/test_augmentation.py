import pytest
import torch

from multilabel_pl.data.augmentation import Augmentation
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
    assert torch.equal(Augmentation()(images), images)


def test_a_shift_moves_each_image_by_its_own_amount_up_to_the_largest(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    moved = centres(Augmentation(max_shift=2)(images)) - centres(images)
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
    turned = Augmentation(max_rotation=30)(line).float().squeeze(1)
    rows, columns = torch.meshgrid(torch.arange(height) - height // 2, torch.arange(width) - width // 2, indexing="ij")
    total = turned.sum((1, 2))
    moments = [(turned * product).sum((1, 2)) / total for product in (columns**2, rows**2, rows * columns)]
    angle = 0.5 * torch.atan2(2 * moments[2], moments[0] - moments[1]).rad2deg()
    assert 25 < angle.max() <= 31
    assert -31 <= angle.min() < -25
    length = (moments[0] + moments[1]).sqrt()
    torch.testing.assert_close(length, length.mean().expand(100), rtol=0.05, atol=0)  # no stretching with the angle


def test_half_of_the_images_are_mirrored(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    same = images[:1].expand(50, -1, -1, -1)
    flipped = Augmentation(flip=True)(same)
    sides = [sum(torch.equal(image, side) for image in flipped) for side in (same[0], same[0].flip(-1))]
    assert sum(sides) == 50
    assert min(sides) > 15


def test_a_crop_shows_a_part_of_the_image_that_is_not_smaller_than_asked_for() -> None:
    torch.manual_seed(0)
    height, width = 60, 40
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))  # (2, H, W)
    seen = Augmentation(min_crop=0.3)(places.to(torch.uint8).expand(300, 2, -1, -1)).flatten(2)  # (B, 2, H * W)
    low, high = seen.amin(dim=2), seen.amax(dim=2)  # (B, 2): the first and the last row and column that are shown
    assert high[:, 0].max() == height - 1
    assert high[:, 1].max() == width - 1
    assert low.amin(dim=0).tolist() == [0, 0]
    shares = ((high - low + 1).double() / torch.tensor([height, width])).prod(dim=1)
    assert 0.25 < shares.min() < 0.4
    assert shares.max() > 0.9


def test_a_crop_of_nearly_all_loses_no_more_by_its_shape() -> None:
    torch.manual_seed(0)
    size = 200
    places = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij"))
    seen = Augmentation(min_crop=0.95)(places.to(torch.uint8).expand(100, 2, -1, -1)).flatten(2)
    low, high = seen.amin(dim=2), seen.amax(dim=2)
    shares = ((high - low + 1).double() / size).prod(dim=1)
    assert 0.93 < shares.min() < 0.97


def test_colours_vary_within_their_range() -> None:
    torch.manual_seed(0)
    colour = torch.tensor([200, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1).expand(200, 3, 4, 4)
    varied = Augmentation(color_jitter=0.2)(colour).double()
    brightness = varied.mean(dim=(1, 2, 3)) / colour.double().mean()
    assert 0.75 < brightness.min() < 0.85
    assert 1.15 < brightness.max() < 1.25
    assert (varied[:, 0] / varied[:, 2]).std() > 0.1  # saturation
    grey = Augmentation(color_jitter=0.2)(colour[:, :1])
    assert grey.shape == (200, 1, 4, 4)
