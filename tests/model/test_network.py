import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from multilabel_pl.errors import InputError
from multilabel_pl.model.network import NETWORKS, ConvPoolDense, ConvPoolDenseKeras, ConvStack, build_network


def random_images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


@pytest.mark.parametrize(("name", "count"), [("conv_pool_dense", 1_609_035), ("conv_pool_dense_keras", 68_523)])
def test_parameters_of_the_tutorial(name: str, count: int) -> None:
    network = build_network(name, (1, 28, 28), 11, pretrained=False)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 30)])
def test_the_default_is_the_textbook_network(shape: tuple[int, int, int]) -> None:
    network = ConvPoolDense(shape, 5)
    images = random_images(4, *shape)
    maps = F.max_pool2d(F.relu(F.conv2d(images / 255, network.conv.weight, network.conv.bias, padding=1)), 2)
    features = torch.stack([maps[:, :, row, column] for row in range(maps.shape[2]) for column in range(maps.shape[3])])
    flat = features.permute(1, 0, 2).flatten(1)  # positions first, then filters, as Keras flattens
    torch.testing.assert_close(network(images), network.scores(F.relu(network.hidden(flat))))


def test_the_network_of_keras_is_what_keras_ran() -> None:
    """Keras's reading of an array (1, 28, 28): height 1, width 28, 28 channels; then a pooling over (28, 32)."""
    network = ConvPoolDenseKeras((1, 28, 28), 11)
    images = random_images(3, 1, 28, 28)
    image = images[:, 0] / 255  # (3, 28 positions, 28 channels)
    padded = F.pad(image, (0, 0, 1, 1))
    centre = network.conv.weight[:, :, 1, :]  # (32, 28, 3); the outer rows of the kernel meet only padding
    maps = torch.stack(
        [torch.einsum("bpc,fcp->bf", padded[:, place : place + 3], centre) for place in range(28)], dim=1
    )
    assert network.conv.bias is not None
    maps = F.relu(maps + network.conv.bias)  # (3, 28, 32)
    pooled = maps.reshape(3, 14, 2, 16, 2).amax(dim=(2, 4))  # (3, 14, 16)
    torch.testing.assert_close(network(images), network.scores(F.relu(network.hidden(pooled.flatten(1)))))


def test_initial_weights_are_keras_defaults() -> None:
    network = ConvPoolDense((1, 28, 28), 11)
    for layer, fan_in, fan_out in ((network.conv, 9, 32 * 9), (network.hidden, 6272, 256), (network.scores, 256, 11)):
        limit = (6 / (fan_in + fan_out)) ** 0.5  # Glorot and Bengio 2010
        assert layer.bias is not None
        assert layer.bias.count_nonzero() == 0
        assert 0.9 * limit < layer.weight.abs().max().item() <= limit


@pytest.mark.parametrize("name", NETWORKS)
def test_images_that_are_no_bytes_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=r"^images must be uint8 in 0\.\.255, got torch\.float32$"):
        build_network(name, (1, 28, 28), 11, pretrained=False)(torch.rand(1, 1, 28, 28))


def test_images_too_small_to_pool_are_refused() -> None:
    with pytest.raises(InputError, match="at least 2x2 pixels, got 1x28"):
        ConvPoolDense((1, 1, 28), 11)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_built_by_name(name: str) -> None:
    network = build_network(name, (3, 8, 10), 5, pretrained=False)
    assert type(network) is NETWORKS[name]
    assert network(random_images(2, 3, 8, 10)).shape == (2, 5)
    with pytest.raises(InputError, match=rf"^{name} has no pretrained weights: choose another --model\.network$"):
        build_network(name, (3, 8, 10), 5, pretrained=True)


def test_the_stack_finds_a_label_wherever_it_is() -> None:
    torch.manual_seed(0)
    network = ConvStack((3, 64, 48), 5).eval()
    image = torch.zeros(2, 3, 64, 48, dtype=torch.uint8)
    spot = random_images(3, 8, 8)
    image[0, :, 16:24, 16:24] = spot
    image[1, :, 40:48, 24:32] = spot
    scores = network(image)
    assert scores.shape == (2, 5)
    torch.testing.assert_close(scores[0], scores[1])
    assert not torch.equal(scores[0], network(image * 0)[0])


def test_the_stack_refuses_images_too_small_to_pool() -> None:
    with pytest.raises(InputError, match="at least 8x8 pixels, got 7x28"):
        ConvStack((1, 7, 28), 11)
