"""Models from checkpoints."""

import math
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch import LightningModule

from multilabel_pl.checkpoint import read_checkpoint
from multilabel_pl.errors import InputError
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.network import NETWORKS
from multilabel_pl.schema.forms import check_form, record, whole
from multilabel_pl.schema.signatures import arguments_of
from multilabel_pl.schema.tensors import tensor_like
from multilabel_pl.task import Task

MAX_VALUES = 2**27  # of an image, channels included
ARGUMENTS = arguments_of(Task)
LABELS = ARGUMENTS.pop("labels")
SHAPE = whole(ARGUMENTS.pop("image_shape"), f"of at most {MAX_VALUES} values", lambda v: math.prod(v) <= MAX_VALUES)
TASK = record({"labels": LABELS, "image_shape": SHAPE}, ARGUMENTS)
OWN = ("decision.", "loss.")  # buffers of finite numbers; those of a network may hold infinity, such as masks
UNBUILDABLE = (ArithmeticError, InputError, MemoryError, RuntimeError, TypeError, ValueError)  # sizes out of all bounds

M = TypeVar("M", bound=LightningModule)


def build_model(model_class: type[M], content: dict[str, Any], path: Path, **options: Any) -> M:
    """Builds a model, with any weights, from the content of a checkpoint; downloads nothing.

    Args:
        model_class: MultiLabelClassifier or a subclass.
        content: The checkpoint's.
        path: The checkpoint, for messages.
        options: Constructor arguments that override the checkpoint's.

    Raises:
        InputError: If no model can be built, or the weights are not its own.
    """
    recorded = content["hyper_parameters"]
    check_form(recorded, record(optional=arguments_of(model_class) | {"task": TASK}), path, "hyper_parameters")
    options = {**recorded, **options, "pretrained": False}
    if options.get("network") is None:
        raise InputError(f"{path} was trained with a module of your own: load it from Python, with network=…")
    if not isinstance(options["network"], str):
        return _construct(model_class, options, path)
    with torch.device("meta"):  # without memory: a few hyperparameters may ask for any amount of it
        draft = _construct(model_class, options, path)
    check_weights(content, draft, path)
    if options["network"] in NETWORKS and model_class.__module__.startswith(f"{__package__}."):
        device = torch.get_default_device()
        return draft.to_empty(device=device).to(device)  # the weights are all there is to it; `to` tells Lightning
    return _construct(model_class, options, path)


def _construct(model_class: type[M], options: dict[str, Any], path: Path) -> M:
    try:
        return model_class(**{**options, "task": Task(**options["task"])})
    except UNBUILDABLE as error:
        raise InputError(f"no model can be built from {path}: {error}") from error


def load_model(model_class: type[M], path: Path, options: dict[str, Any]) -> M:
    """Builds a model from a checkpoint and loads its weights.

    Args:
        model_class: MultiLabelClassifier or a subclass.
        path: The checkpoint.
        options: Constructor arguments that override the checkpoint's.

    Raises:
        InputError: If the file is missing, damaged, or not a checkpoint of this model.
    """
    content = read_checkpoint(path)
    model = build_model(model_class, content, path, **options)
    load_weights(content, model, path)
    return model


def load_weights(content: dict[str, Any], model: LightningModule, path: str | Path) -> None:
    """Loads the weights in the content of a checkpoint into a model.

    Raises:
        InputError: If they are another model's.
    """
    check_weights(content, model, path)
    model.load_state_dict(content["state_dict"])
    decision = model.get_submodule("decision")
    assert isinstance(decision, Decision)
    decision.restored(content["hyper_parameters"]["threshold"])


def check_weights(content: dict[str, Any], model: LightningModule, path: str | Path | None) -> None:
    """Checks that the weights in the content of a checkpoint are a model's.

    Raises:
        InputError: If names or shapes differ, or values are not finite; the message names the checkpoint.
    """
    expected, found = model.state_dict(), content["state_dict"]
    if found.keys() != expected.keys() or any(
        getattr(found[name], "shape", None) != value.shape for name, value in expected.items()
    ):
        raise InputError(f"{path} is another model's checkpoint: its weights have other names or shapes")
    finite = {name for name, _ in model.named_parameters()} | {name for name in expected if name.startswith(OWN)}
    forms = {name: tensor_like(value, finite=name in finite) for name, value in expected.items()}
    check_form(found, record(forms), path, "state_dict")
