"""Models from checkpoints."""

from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch import LightningModule

from multilabel_pl.checkpoint import read_checkpoint
from multilabel_pl.errors import InputError
from multilabel_pl.task import Task

M = TypeVar("M", bound=LightningModule)


def build_model(model_class: type[M], options: dict[str, Any], path: Path) -> M:
    """Builds a model, without its weights, from the hyperparameters in a checkpoint; downloads nothing.

    Args:
        model_class: MultiLabelClassifier or a subclass.
        options: Constructor arguments, with the task as plain values.
        path: The checkpoint, for messages.

    Raises:
        InputError: If no model can be built.
    """
    if options.get("network") is None:
        raise InputError(f"{path} was trained with a module of your own: load it from Python, with network=…")
    try:
        return model_class(**{**options, "pretrained": False, "task": Task(**options["task"])})
    except (TypeError, InputError) as error:
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
    model = build_model(model_class, {**content["hyper_parameters"], **options}, path)
    load_weights(content, model, path)
    return model


def load_weights(content: dict[str, Any], model: LightningModule, path: str | Path) -> None:
    """Loads the weights in the content of a checkpoint into a model.

    Raises:
        InputError: If they are another model's.
    """
    check_weights(content, model, path)
    model.load_state_dict(content["state_dict"])


def check_weights(content: dict[str, Any], model: LightningModule, path: str | Path | None) -> None:
    """Checks that the weights in the content of a checkpoint are a model's.

    Raises:
        InputError: If names or shapes differ; the message names the checkpoint.
    """
    found = {name: getattr(value, "shape", None) for name, value in content["state_dict"].items()}
    if found != {name: value.shape for name, value in model.state_dict().items()}:
        raise InputError(f"{path} is another model's checkpoint: its weights have other names or shapes")
