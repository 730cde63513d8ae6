import pytest
import torch

from multilabel_pl.results.heat_maps import overlay


@pytest.mark.parametrize("channels", [1, 3])
def test_without_heat_the_image_stays_in_grey(channels: int) -> None:
    image = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).repeat(channels, 1, 1)
    drawn = overlay(image, torch.zeros(16, 16))
    assert (drawn.shape, drawn.dtype) == ((3, 16, 16), torch.uint8)
    assert torch.equal(drawn, image.expand(3, -1, -1))


@pytest.mark.parametrize("value", [0, 255])
def test_heat_is_seen_on_black_and_on_white(value: int) -> None:
    drawn = overlay(torch.full((1, 1, 3), value, dtype=torch.uint8), torch.tensor([[0.0, 0.3, 1.0]])).int()
    red_over_blue = (drawn[0] - drawn[2])[0].tolist()
    assert red_over_blue == sorted(set(red_over_blue))
    assert red_over_blue[2] > 150
