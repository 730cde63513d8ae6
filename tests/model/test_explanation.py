import pytest
import torch
from torch import Tensor, nn

from multilabel_pl import MultiLabelClassifier, SceneDataModule, Task, Trainer
from multilabel_pl.data.scenes import Scenes
from multilabel_pl.errors import InputError
from multilabel_pl.model.explanation import Explainer
from multilabel_pl.model.feature_maps import find_feature_maps

LABELS = ("a", "b", "c")


def images(size: int, count: int = 3, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (count, channels, size, size), generator=generator, dtype=torch.uint8)


def untrained(network: str | nn.Module, size: int, channels: int = 1, **options: str) -> MultiLabelClassifier:
    torch.manual_seed(0)
    task = Task(LABELS, (channels, size, size))
    return MultiLabelClassifier(network=network, task=task, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("network", "size", "layer"),
    [
        ("conv_pool_dense", 28, "conv"),
        ("conv_stack", 28, "blocks.2.1"),  # 7 x 7, as the last maps are 3 x 3
        ("conv_stack", 64, "last"),
        ("resnet18", 128, "model.layer4"),
        ("resnet18", 64, "model.layer3"),  # whose last maps are 2 x 2
        ("resnet18", 28, "model.layer2"),
        ("mobilenetv3_small_100", 128, "model.blocks"),
        ("vit_tiny_patch16_224", 64, "model.blocks.10"),  # after which the class token alone counts
        ("swin_tiny_patch4_window7_224", 64, "model.layers.2"),
    ],
)
def test_the_last_maps_that_all_scores_depend_on_are_found(network: str, size: int, layer: str) -> None:
    model = untrained(network, size, channels=3)
    found = find_feature_maps(model.network.eval(), images(size, channels=3))
    assert next(name for name, module in model.network.named_modules() if module is found.layer) == layer
    heat = Explainer(model)(images(size, channels=3), torch.tensor([0, 1, 2]))
    assert (heat.shape, heat.dtype) == ((3, size, size), torch.float32)
    assert heat.min() >= 0
    assert set(heat.amax(dim=(1, 2)).tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_the_model_stays_as_it_was_also_in_inference_mode(head: str) -> None:
    model = untrained("conv_stack", 28, head=head).train()
    model.network.get_submodule("last").requires_grad_(False)
    model.network.get_submodule("blocks.0").eval()
    model(images(28)).sum().backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    needs = [p.requires_grad for p in model.parameters()]
    with torch.inference_mode():
        heat = Explainer(model)(images(28) + 0, torch.tensor([0, 1, 2]))
    assert torch.equal(heat, Explainer(model)(images(28), torch.tensor([0, 1, 2])))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == needs
    after = [p.grad for p in model.parameters()]
    for x, y in zip(grads, after, strict=True):
        assert (x is None) == (y is None)
        assert x is None or y is None or torch.equal(x, y)
    assert not any(module._forward_hooks for module in model.modules())


def test_where_nothing_speaks_for_a_label_heat_is_zero() -> None:
    model = untrained("conv_stack", 64)
    nn.init.constant_(model.network.get_parameter("scores.weight"), -1.0)
    heat = Explainer(model)(images(64), torch.tensor([0, 1, 2]))
    assert not heat.any()
    assert Explainer(model)(images(64, count=0), torch.zeros(0, dtype=torch.int64)).shape == (0, 64, 64)


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(28 * 28, 3)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.scores(images.flatten(1) / 255)
        return scores


@pytest.mark.parametrize("network", [Flat(), "conv_pool_dense_keras"])
def test_a_network_without_places_is_refused(network: str | nn.Module) -> None:
    with pytest.raises(InputError, match=r"^no layer of the network keeps the places .* --model\.network conv_stack"):
        Explainer(untrained(network, 28))(images(28), torch.tensor([0, 1, 2]))


def shares(model: MultiLabelClassifier, scenes: Scenes) -> Tensor:
    """Returns the share of heat in the frame of the first digit of each of a hundred scenes of two or more."""
    chosen = (scenes.counts >= 2).nonzero()[:100, 0].tolist()
    pixels, _ = scenes.__getitems__(chosen)
    digits = scenes.digits.targets[scenes.chosen[chosen, 0], :10].argmax(dim=1)
    heat = Explainer(model)(pixels, digits)
    inside = torch.zeros_like(heat)
    for mask, (top, left) in zip(inside, scenes.corners[chosen, 0].tolist(), strict=True):
        mask[max(top, 0) : top + 28, max(left, 0) : left + 28] = 1
    return (heat * inside).sum(dim=(1, 2)) / heat.sum(dim=(1, 2)).clamp(min=1e-6)


@pytest.mark.slow
def test_heat_lies_on_the_digit_unless_weights_are_random() -> None:
    data = SceneDataModule(train_size=20_000, val_size=0, test_size=200, batch_size=128)
    torch.manual_seed(0)
    model = MultiLabelClassifier(network="conv_stack", lr=0.008, lr_schedule="one_cycle")
    Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False).fit(
        model, datamodule=data
    )
    data.setup("test")
    assert isinstance(data.test_set, Scenes)
    learned = shares(model, data.test_set).mean()
    for module in model.network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            module.reset_parameters()
    random = shares(model, data.test_set).mean()
    assert learned > 0.5
    assert random < learned / 1.5
