"""Forms of the states of optimizers and of schedules of the learning rate.

torch restores them unseen; a fused optimizer then trusts the sizes of its tensors, and reads and writes beyond them.
"""

from collections import defaultdict
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.torch_optimizers import OPTIMIZERS
from multilabel_pl.schema.forms import (
    ANYTHING,
    DICT,
    NONE,
    NUMBER,
    Form,
    alike,
    check_form,
    dict_of,
    either,
    exactly,
    list_with,
    record,
    whole_number,
)
from multilabel_pl.schema.tensors import tensor_like
from multilabel_pl.training.lightning_internals import SCHEDULE_LENGTH

ONE_CYCLE = ("initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum")  # what its schedule keeps with Adam
ZERO = Form("0", lambda value: NUMBER.fits(value) and value == 0)


def check_optimizers(
    content: dict[str, Any], optimizers: Sequence[Optimizer], schedulers: Sequence[Any], path: str | Path | None
) -> None:
    """Checks the states of optimizers and schedules in a checkpoint against those that will take them.

    Raises:
        InputError: If they are others' states, or can't be anyone's.
    """
    forms = list_with([_optimizer_form(optimizer) for optimizer in optimizers])
    check_form(content["optimizer_states"], forms, path, "optimizer_states")
    for i, (state, scheduler) in enumerate(zip(content["lr_schedulers"], schedulers, strict=False)):
        check_form(state, _schedule_form(scheduler, content["global_step"]), path, f"lr_schedulers[{i}]")


def check_own_optimizer(content: dict[str, Any], model: MultiLabelClassifier, path: str | Path) -> None:
    """Checks the states against the optimizer and the schedule of a model that no trainer has yet.

    Raises:
        InputError: As from `check_optimizers`.
    """
    optimizer, scheduler = model.optimization.build(model.parameters(), steps=2)  # or any other number
    check_optimizers(content, [optimizer], [scheduler] if scheduler else [], path)


def _optimizer_form(optimizer: Optimizer) -> Form:
    """Returns the form of an optimizer's state."""
    fresh = optimizer.state_dict()["param_groups"]
    groups = zip(optimizer.param_groups, fresh, strict=True)
    weights = {
        index: _weight_form(optimizer, group, weight)
        for group, numbered in groups
        for weight, index in zip(group["params"], numbered["params"], strict=True)
    }
    groups_form = list_with([_group_form(group, optimizer.defaults) for group in fresh])
    return record({"param_groups": groups_form, "state": record(optional=weights, closed=True)})


def _group_form(fresh: dict[str, Any], defaults: dict[str, Any]) -> Form:
    """Returns the form of a group of weights: the same ones, with the same switches, if perhaps another learning rate.

    What a schedule has added need not be there if the schedule does without it, nor a switch of a newer torch.
    """
    switches = {name: alike(value, exact=True) for name, value in fresh.items() if isinstance(value, bool | None)}
    weights = {"params": list_with([exactly(index) for index in fresh["params"]])}
    needed = {*defaults, *(ONE_CYCLE if "max_lr" in fresh else ())} - switches.keys()
    numbers = {name: alike(fresh[name]) for name in needed if name in fresh}
    if fresh.get("momentum") == 0:
        numbers["momentum"] = ZERO  # with another, RMSprop would look for a momentum that it has not kept
    return record({**weights, **numbers}, switches)


def _weight_form(optimizer: Optimizer, group: dict[str, Any], weight: Tensor) -> Form:
    """Returns the form of what an optimizer knows of a weight; that of a user's own optimizer may be anything."""
    if type(optimizer) in OPTIMIZERS.values():
        known = _after_a_step(optimizer, group, weight)
        return record({name: _part_form(value, weight) for name, value in known.items()})
    number = tensor_like(torch.tensor(0.0), finite=True)
    moment = tensor_like(weight, finite=True, same_layout=True)
    return dict_of(either(moment, number, NONE)) if group.get("fused") else DICT


def _after_a_step(optimizer: Optimizer, group: dict[str, Any], weight: Tensor) -> dict[str, Any]:
    """Returns what an optimizer with the options of a group knows, after one step, of a weight like another one."""
    twin = torch.zeros_like(weight, device="cpu", requires_grad=True)
    twin.grad = torch.zeros_like(twin)
    alone = copy(optimizer)
    alone.state = defaultdict(dict)
    alone.param_groups = [{**group, "params": [twin]}]
    alone.step()
    known: dict[str, Any] = alone.state[twin]
    return known


def _part_form(value: Any, weight: Tensor) -> Form:
    if isinstance(value, Tensor) and value.shape == weight.shape:
        return tensor_like(weight, finite=True, same_layout=True)
    return tensor_like(value, finite=True) if isinstance(value, Tensor) else alike(value)


def _schedule_form(scheduler: Any, steps: int) -> Form:
    """Returns the form of a schedule's state after so many steps; that of a user's own may be anything."""
    if not isinstance(scheduler, OneCycleLR):
        return DICT
    forms = {name: alike(value, exact=True) for name, value in scheduler.state_dict().items()}
    for name in SCHEDULE_LENGTH:
        del forms[name]
    forms["last_epoch"] = whole_number(0, steps)
    return record(forms, dict.fromkeys(SCHEDULE_LENGTH, ANYTHING), closed=True)
