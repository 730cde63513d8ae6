"""Optimizers by name: what checkpoints hold of them, runs that resume exactly, and states that are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD, AdamW

from benchmarks.crash import differences
from multilabel_pl.cli.main import main
from multilabel_pl.model.optimizer import Optimization
from multilabel_pl.model.torch_optimizers import OPTIMIZERS
from tests.conftest import BRIEF, QUIET, small
from tests.test_schema import GROUP, STATE, changed, check_refused
from tests.training.test_resume import UNHARMED, strikes

OPTIONS = {
    "AdamW": {"amsgrad": "true", "betas": "[0.8, 0.9]"},
    "Adam": {},
    "NAdam": {"momentum_decay": "0.01"},
    "RAdam": {},
    "RMSprop": {"momentum": "0.9", "centered": "true"},
    "SGD": {"momentum": "0.9", "nesterov": "true"},
}
KEPT = {  # of each weight
    "AdamW": {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
    "Adam": {"step", "exp_avg", "exp_avg_sq"},
    "NAdam": {"step", "mu_product", "exp_avg", "exp_avg_sq"},
    "RAdam": {"step", "exp_avg", "exp_avg_sq"},
    "RMSprop": {"step", "square_avg", "grad_avg", "momentum_buffer"},
    "SGD": {"momentum_buffer"},
}
WHICH = [pytest.param(name, marks=() if name in ("SGD", "RMSprop") else pytest.mark.slow) for name in OPTIMIZERS]


def training(name: str, data_dir: str) -> list[str]:
    options = [word for option, value in OPTIONS[name].items() for word in (f"--model.optimizer.{option}", value)]
    stack = ["--model.network", "conv_stack", "--model.lr_schedule", "one_cycle"]
    return ["fit", *QUIET, *BRIEF, *small(data_dir), *stack, "--model.optimizer", name, *options]


@pytest.mark.parametrize("name", WHICH)
def test_a_run_resumes_exactly_and_names_no_class(name: str, small_set: str, workplace: Path) -> None:
    words = [*training(name, small_set), "--trainer.max_epochs", "2"]
    main(words)
    with pytest.raises(SystemExit):
        main([*words, *strikes("SIGTERM", "on_train_batch_end", 2)])
    main(["fit", "last", *UNHARMED])
    whole, resumed = (torch.load(f"runs/version_{i}/last.ckpt", weights_only=True) for i in range(2))
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "hyper_parameters", "global_step"):
        assert differences(whole[part], resumed[part]) == [], part
    [state] = whole["optimizer_states"]
    assert all(set(kept) == KEPT[name] for kept in state["state"].values())
    assert whole["hyper_parameters"]["optimizer"] == name
    assert set(whole["hyper_parameters"]["optimizer_options"] or {}) == set(OPTIONS[name])


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (torch.zeros(3), "momentum_buffer must be a dense tensor of finite floats, 64x64x3x3 in the"),
        (torch.zeros(1).expand(64, 64, 3, 3), "got one that is not dense, 64x64x3x3 of torch.float32"),
        ("x", "64x64x3x3 in the layout of its weight, got 'x'"),
    ],
    ids=["size", "not dense", "text"],
)
def test_a_state_that_is_no_momentum_is_refused(
    kept: Any, message: str, small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = training("SGD", small_set)
    main(words)
    changed(Path("runs/version_0"), (*STATE, 9, "momentum_buffer"), kept)
    check_refused([*words, "--trainer.max_epochs", "2", "--ckpt_path", "x.ckpt"], message, capsys)


def test_a_momentum_that_was_not_kept_is_refused(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", *QUIET, *BRIEF, *small(small_set), "--model.optimizer", "RMSprop"]
    main(words)
    changed(Path("runs/version_0"), (*GROUP, "momentum"), 0.9)
    message = "param_groups[0].momentum must be 0, got 0.9"
    check_refused([*words, "--trainer.max_epochs", "2", "--ckpt_path", "x.ckpt"], message, capsys)


def test_the_default_is_adam_as_keras_has_it() -> None:
    optimizer, schedule = Optimization(1e-3, "constant", 0.0).build([torch.zeros(1)], steps=1)
    assert type(optimizer) is AdamW
    assert optimizer.defaults["eps"] == 1e-7
    assert schedule is None


@pytest.mark.parametrize(
    ("name", "options", "before", "after"),
    [
        ("AdamW", None, 0.95, 0.9),  # its first beta begins high, where the learning rate is low
        ("AdamW", {"betas": [0.8, 0.9]}, 0.8, 0.8),
        ("SGD", {"momentum": 0.7}, 0.7, 0.7),
        ("SGD", None, 0, 0),
    ],
)
def test_one_cycle_keeps_what_is_given(name: str, options: Any, before: float, after: float) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer, schedule = Optimization(1e-3, "one_cycle", 0.0, name, options).build([weight], steps=4)
    assert schedule is not None

    def momentum() -> float:
        [group] = optimizer.param_groups
        return float(group["momentum"] if isinstance(optimizer, SGD) else group["betas"][0])

    assert momentum() == pytest.approx(before)
    optimizer.step()
    schedule.step()
    assert (momentum() == pytest.approx(before)) == (before == after)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_help_has_the_options_of_each(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--model.optimizer.help", name])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"  --model.optimizer.{option} " in shown for option in OPTIONS[name])
    assert "--model.optimizer.lr" not in shown
    assert "--model.optimizer.fused" not in shown


def test_the_help_has_all_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--model.optimizer.help"])
    assert caught.value.code == 0
    assert "--model.optimizer: AdamW, Adam, NAdam, RAdam, RMSprop, SGD" in capsys.readouterr().out
