"""Forms of what Lightning's callbacks that average weights save, and restore unseen."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import SGD
from torch.optim.swa_utils import SWALR

from multilabel_pl.schema.forms import COUNT, NONE, Form, alike, check_form, either, record, whole_number
from multilabel_pl.schema.tensors import tensor_like
from multilabel_pl.training.lightning_internals import SWA_FUNCTION

CURRENT, AVERAGING = "current_model_state", "averaging_state"  # of a WeightAveraging, which puts averages in state_dict


def stochastic_averaging_form(state: dict[str, Any]) -> Form:
    """Returns the form of the state of a StochasticWeightAveraging.

    Args:
        state: That of the callback itself, which has a model from the start of a fit on.
    """
    average = state["average_model_state"]
    schedule = SWALR(SGD([torch.zeros(1)], lr=1.0), swa_lr=1.0).state_dict()
    schedule.pop(SWA_FUNCTION, None)
    return record(
        {
            "n_averaged": COUNT,
            "latest_update_epoch": whole_number(-1),
            "scheduler_state": either(NONE, alike(schedule)),
            "average_model_state": _weights_form(average or {}),
        }
    )


def check_averaging(content: dict[str, Any], model: LightningModule, path: str | Path | None) -> None:
    """Checks what a WeightAveraging restores of a checkpoint, beside the weights: those that are not averaged.

    Raises:
        InputError: If they are another model's, or not weights at all.
    """
    counts = record({"n_averaged": tensor_like(torch.tensor(0))}, closed=True)
    forms = {CURRENT: _weights_form(model.state_dict(), closed=True), AVERAGING: counts}
    check_form(content, record(optional=forms), path)


def _weights_form(weights: dict[str, Tensor], closed: bool = False) -> Form:
    return record({name: tensor_like(value) for name, value in weights.items()}, closed=closed)
