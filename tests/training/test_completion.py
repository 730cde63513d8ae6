"""A run that is finished is left as it is by the command that trained it, however often that is given again."""

from pathlib import Path

import pytest
import torch

from multilabel_pl.cli.main import main
from tests.conftest import QUIET, small
from tests.training.test_resume import strikes

# Stops after its third epoch, as no epoch is better by 1 than the first.
EARLY = [
    "--trainer.callbacks=EarlyStopping",
    "--trainer.callbacks.monitor=val_loss",
    "--trainer.callbacks.patience=2",
    "--trainer.callbacks.min_delta=1",
]
STEPS = 2  # in an epoch


def training(small_set: str, *words: str) -> list[str]:
    limits = ["--trainer.max_epochs", "6", "--trainer.limit_train_batches", str(STEPS)]
    return ["fit", "--ckpt_path", "last", *QUIET, *small(small_set), *limits, *words]


def contents() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}


def step() -> int:
    number: int = torch.load("runs/version_0/last.ckpt", weights_only=True)["global_step"]
    return number


def status(words: list[str]) -> object:
    """Runs a command, and returns its exit status."""
    try:
        main(words)
    except SystemExit as caught:
        return caught.code
    return 0


@pytest.mark.parametrize(
    ("words", "steps", "reason"),
    [
        (EARLY, 3 * STEPS, "it was stopped early; without what did that it would go on: --trainer.callbacks null"),
        (["--trainer.max_steps", "5"], 5, "it has done 5 steps; raise --trainer.max_steps"),
        (["--trainer.max_epochs", "2"], 2 * STEPS, "it has done 2 epochs; raise --trainer.max_epochs"),
    ],
    ids=["early stopping", "steps", "epochs"],
)
def test_a_finished_run_is_left_as_it_is(
    words: list[str], steps: int, reason: str, small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(training(small_set, *words))
    assert step() == steps
    before = contents()
    for again in (training(small_set, *words), ["fit", "last"]):
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(again)
        assert caught.value.code == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"runs/version_0 is finished: {reason}"
    assert contents() == before


def test_a_run_that_was_stopped_early_goes_on_without_what_did_that(small_set: str, workplace: Path) -> None:
    main(training(small_set, *EARLY))
    main(["fit", "last", "--trainer.callbacks", "null"])
    assert step() == 6 * STEPS


@pytest.mark.slow
def test_a_run_that_may_not_stop_yet_is_not_finished(small_set: str, workplace: Path) -> None:
    main(training(small_set, *EARLY, "--trainer.min_epochs", "4", "--trainer.max_steps", str(3 * STEPS)))
    assert "stopped_by" not in torch.load("runs/version_0/last.ckpt", weights_only=True)
    main(training(small_set, *EARLY, "--trainer.min_epochs", "4", "--trainer.max_steps", "-1"))
    assert step() == 4 * STEPS


@pytest.mark.slow
def test_a_run_whose_time_is_over_is_left_as_it_is(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = training(small_set, "--trainer.max_time", "00:00:00:01", "--trainer.max_epochs", "10000")
    main(words)
    before = {path: content for path, content in contents().items() if path.suffix == ".ckpt"}
    capsys.readouterr()
    main(words)
    assert "nothing was trained" in capsys.readouterr().out
    assert {path: content for path, content in contents().items() if path.suffix == ".ckpt"} == before


def test_a_run_that_has_diverged_stays_before_it(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil = '{"class_path": "tests.callbacks.Spoil", "init_args": {"step": 3}}'
    for _ in range(2):
        with pytest.raises(SystemExit) as caught:
            main(training(small_set, "--trainer.callbacks", spoil))
        assert caught.value.code == 2
        assert "was not a finite number" in capsys.readouterr().err
        assert step() == STEPS


@pytest.mark.slow
def test_a_scheduler_may_repeat_a_command_until_it_is_done(small_set: str, workplace: Path) -> None:
    main(training(small_set, *EARLY))
    whole = torch.load("runs/version_0/last.ckpt", weights_only=True)
    [strike] = strikes("SIGTERM", "on_before_optimizer_step", 1)[1:]
    stopping = '{"class_path": "EarlyStopping", "init_args": {"monitor": "val_loss", "patience": 2, "min_delta": 1}}'
    callbacks = f"[{stopping}, {strike[1:-1]}]"
    words = training(small_set, "--trainer.default_root_dir", "other", "--trainer.callbacks", callbacks)
    statuses = [status(words)]
    while statuses[-1] == 143:
        statuses.append(status(words))
    assert statuses == [143] * (len(statuses) - 1) + [0]
    ended = torch.load("other/version_0/last.ckpt", weights_only=True)
    assert ended["global_step"] == whole["global_step"]
    assert all(torch.equal(value, ended["state_dict"][name]) for name, value in whole["state_dict"].items())
