"""The summary of a network."""

import pytest
import torch

from multilabel_pl import MultiLabelClassifier, Task
from multilabel_pl.training.layer_summary import MAX_ROWS, output_shapes, summary


def shapes_of(name: str, shape: tuple[int, int, int] = (1, 28, 28)) -> tuple[str, dict[str, tuple[int, ...]]]:
    task = Task(("a", "b"), shape)
    network = MultiLabelClassifier(network=name, task=task).network
    shapes = output_shapes(network, task)
    return summary(network, task, shapes), shapes


def test_the_tutorials_network() -> None:
    task = Task(tuple("abcdefghijk"), (1, 28, 28))
    network = MultiLabelClassifier(task=task).network
    lines = summary(network, task, output_shapes(network, task)).splitlines()
    assert lines == [
        "ConvPoolDense: images 1 x 28 x 28, 11 labels",
        "| layer           |       output | parameters |",
        "|-----------------|-------------:|-----------:|",
        "| conv (Conv2d)   | 32 x 28 x 28 |        320 |",
        "| hidden (Linear) |          256 |  1,605,888 |",
        "| scores (Linear) |           11 |      2,827 |",
        "1,609,035 parameters (6.4 MB), all trained",
    ]


@pytest.mark.parametrize("name", ["conv_stack", "resnet18", "vit_tiny_patch16_224"])
def test_deep_networks_are_summarised_in_a_few_rows(name: str) -> None:
    text, shapes = shapes_of(name, (3, 224, 224))
    assert 4 < len(text.splitlines()) <= MAX_ROWS + 4
    assert len(shapes) >= 3


def test_it_changes_nothing() -> None:
    task = Task(("a", "b"), (3, 64, 64))
    network = MultiLabelClassifier(network="conv_stack", task=task).network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    output_shapes(network, task)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
