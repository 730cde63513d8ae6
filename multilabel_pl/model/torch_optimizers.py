"""torch's optimizers that can be chosen by name, and their options."""

import inspect
from collections.abc import Callable, Iterable

from torch import Tensor
from torch.optim import SGD, Adam, AdamW, NAdam, Optimizer, RAdam, RMSprop

from multilabel_pl.errors import InputError, check_choice
from multilabel_pl.schema.forms import Form, fits, shown
from multilabel_pl.schema.signatures import arguments_of

OptimizerOptions = dict[str, bool | float | list[float]]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    optimizer.__name__: optimizer for optimizer in (AdamW, Adam, NAdam, RAdam, RMSprop, SGD)
}
MUON = "Muon"  # not one of them: it would need another optimizer beside it, and its bfloat16 is slow on most CPUs
KERAS_ADAM_EPSILON = 1e-7
DEFAULTS: dict[str, OptimizerOptions] = {"AdamW": {"eps": KERAS_ADAM_EPSILON}}  # others than torch's
OF_THE_MODEL = ("lr", "weight_decay")  # for these, the model has arguments of its own
# What is trained, in which direction, and how a step is computed, are no options either.
FIXED = ("params", "maximize", "capturable", "differentiable", "foreach", "fused")


def check_optimizer_options(name: str, options: OptimizerOptions) -> None:
    """Checks that there is an optimizer of a name, that it has these options, and that their types are right.

    Raises:
        InputError: If not.
    """
    if name == MUON:
        raise InputError(
            "optimizer Muon takes matrices alone, but networks have convolutions and biases, too: choose AdamW"
        )
    check_choice("optimizer", name, OPTIMIZERS)
    forms = _options_of(name)
    for option, value in options.items():
        if option in OF_THE_MODEL:
            raise InputError(f"optimizer_options can't have {option}: it is an option of the model, set {option}")
        if option not in forms:
            raise InputError(f"{name} has no option {option}: it has {', '.join(forms)}")
        if not fits(value, forms[option]):
            raise InputError(f"optimizer_options.{option} must be {forms[option].text}, got {shown(value)}")


def build_optimizer(
    name: str, parameters: Iterable[Tensor], lr: float, weight_decay: float, options: OptimizerOptions
) -> Optimizer:
    """Builds an optimizer, fused where torch has that.

    Args:
        name: One of OPTIMIZERS.
        parameters: What it optimizes.
        lr: Learning rate.
        weight_decay: Decoupled in AdamW; in the others as torch has it.
        options: Others of its options; torch's defaults, or those of DEFAULTS, stand for the rest.

    Raises:
        InputError: If torch refuses a value.
    """
    optimizer: Callable[..., Optimizer] = OPTIMIZERS[name]
    given = {option: tuple(value) if isinstance(value, list) else value for option, value in options.items()}
    fused = {"fused": True} if "fused" in inspect.signature(optimizer).parameters else {}
    try:
        return optimizer(parameters, lr=lr, weight_decay=weight_decay, **{**DEFAULTS.get(name, {}), **given, **fused})
    except ValueError as error:
        raise InputError(f"torch's {name} refuses these options: {error}") from error


def _options_of(name: str) -> dict[str, Form]:
    """Returns the forms of the options of an optimizer, in the order of its arguments."""
    own, forms = inspect.signature(OPTIMIZERS[name]).parameters, arguments_of(OPTIMIZERS[name])
    return {option: forms[option] for option in own if option not in (*OF_THE_MODEL, *FIXED)}
