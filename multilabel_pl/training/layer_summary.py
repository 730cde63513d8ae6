"""A summary of the network: its layers, what each puts out, and their parameters."""

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelSummary
from torch import Tensor, nn

from multilabel_pl.messages import say
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.evaluation_mode import evaluating
from multilabel_pl.results.text import screen_width, table
from multilabel_pl.task import Task

MAX_ROWS = 20
BYTES_A_MEGABYTE = 1e6


class LayerSummary(ModelSummary):
    """Prints the summary of a MultiLabelClassifier at the start of a fit; of other models, Lightning's."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints it."""
        if not isinstance(pl_module, MultiLabelClassifier) or pl_module.task is None:
            super().on_fit_start(trainer, pl_module)
            return
        shapes = {}
        if trainer.world_size == 1:  # a network may be spread over several processes, which would all have to take part
            with trainer.precision_plugin.forward_context():
                shapes = output_shapes(pl_module.network, pl_module.task)
        say(summary(pl_module.network, pl_module.task, shapes))


def summary(network: nn.Module, task: Task, shapes: dict[str, tuple[int, ...]]) -> str:
    """Returns a table of the layers, and the number and size of all parameters.

    Args:
        network: The network.
        task: What it is for.
        shapes: What each layer puts out for one image, by its name.
    """
    rows = [
        [f"{name} ({type(layer).__name__})", _size(shapes.get(name, ())), f"{_count(layer):,}"]
        for name, layer in _layers(network).items()
    ]
    total, trained = _count(network), sum(p.numel() for p in network.parameters() if p.requires_grad)
    size = sum(parameter.nbytes for parameter in network.parameters()) / BYTES_A_MEGABYTE
    trainable = "all trained" if trained == total else f"{trained:,} of them trained"
    about = f"{type(network).__name__}: images {_size(task.image_shape)}, {len(task.labels)} labels"
    listed = table(["layer", "output", "parameters"], rows, screen_width())
    return f"{about}\n{listed}\n{total:,} parameters ({size:.1f} MB), {trainable}\n"


@torch.no_grad()
def output_shapes(network: nn.Module, task: Task) -> dict[str, tuple[int, ...]]:
    """Returns the shape of what each listed layer puts out for one image, by its name."""
    shapes = {}

    def keep(name: str) -> Any:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                shapes[name] = tuple(output.shape[1:])

        return hook

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in _layers(network).items()]
    device = next((parameter.device for parameter in network.parameters()), None)
    try:
        with evaluating(network):
            network.forward(torch.zeros(1, *task.image_shape, dtype=torch.uint8, device=device))  # not compiled
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _layers(network: nn.Module) -> dict[str, nn.Module]:
    """Returns the layers by name, as deep as their number allows."""
    layers = dict(network.named_children()) or {"network": network}
    while True:
        deeper: dict[str, nn.Module] = {}
        for name, layer in layers.items():
            deeper |= {f"{name}.{child}": module for child, module in layer.named_children()} or {name: layer}
        if len(deeper) > MAX_ROWS or deeper == layers:
            return layers
        layers = deeper


def _count(module: nn.Module) -> int:
    return sum(math.prod(parameter.shape) for parameter in module.parameters())


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "–"
