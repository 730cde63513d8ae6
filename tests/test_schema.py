"""No file ends in anything but a model or a sentence: what is wrong in a checkpoint, and what is said of it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, Timer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from multilabel_pl import MNISTDataModule, MultiLabelClassifier, Trainer
from multilabel_pl.checkpoint import read_checkpoint
from multilabel_pl.cli.main import main
from multilabel_pl.errors import InputError
from multilabel_pl.model.loading import build_model
from multilabel_pl.training.checkpointing import BestCheckpoint, LastCheckpoint
from tests.conftest import BRIEF, QUIET, ROOT, STACK, small

HUGE = torch.zeros(1).expand(10**6, 10**6)  # one number that poses as 10^12
NOTHING = object()  # in the place of a value that is removed

Place = tuple[str | int, ...]

HYPER, TASK, DATA = ("hyper_parameters",), ("hyper_parameters", "task"), ("datamodule_hyper_parameters",)
STATE, GROUP = ("optimizer_states", 0, "state"), ("optimizer_states", 0, "param_groups", 0)
LOOP, SCHEDULE = ("loops", "fit_loop"), ("lr_schedulers", 0)
BEST, STOPPING = ("callbacks", "BestCheckpoint"), ("callbacks", "EarlyStopping{'monitor': 'val_loss', 'mode': 'min'}")

# In what any command uses: the place, what is put there, and words of the message.
OF_ANY_USE: list[tuple[Place, Any, str]] = [
    (("pytorch-lightning_version",), NOTHING, "pytorch-lightning_version must be a version of Lightning from 2.0 on"),
    (("pytorch-lightning_version",), "1.4.0", "must be a version of Lightning from 2.0 on, got '1.4.0'"),
    (("pytorch-lightning_version",), 2.6, "must be a version of Lightning from 2.0 on, got 2.6"),
    (("epoch",), -1, "epoch must be a whole number of at least 0"),
    (("epoch",), True, "epoch must be a whole number of at least 0"),
    (("epoch",), 10**30, "it holds values within themselves, or too many"),
    (("global_step",), 6.0, "global_step must be a whole number"),
    (("global_step",), "6", "global_step must be a whole number of at least 0 and at most 9.0072e+15, got '6'"),
    (("state_dict",), 5, "is not a checkpoint of multilabel_pl: it has no hyperparameters or no weights"),
    (("state_dict", "network.scores.bias"), "x", "is another model's checkpoint: its weights have other names or"),
    (("state_dict", "network.scores.bias"), torch.zeros(3), "its weights have other names or shapes"),
    (("state_dict", "network.scores.bias"), torch.zeros(11).to_sparse(), "floats, 11, got one that is not dense, 11"),
    (("state_dict", "network.scores.bias"), torch.zeros(1).expand(11), "got one that is not dense, 11 of torch.float"),
    (
        ("state_dict", "network.scores.bias"),
        torch.zeros(11, dtype=torch.complex64),
        "finite floats, 11, got 11 of torch.complex64",
    ),
    (("state_dict", "network.scores.bias"), torch.full((11,), torch.nan), "11 of torch.float32, not all finite"),
    (("state_dict", "decision.thresholds"), torch.full((11,), torch.inf), "decision.thresholds must be"),
    (("state_dict", "network.scores.weight"), HUGE, "its weights have other names or shapes"),
    ((*HYPER, "network"), ["conv_stack"], "hyper_parameters.network must be text or a Module, got a list of 1"),
    ((*HYPER, "network"), "hf-hub:timm/resnet18", "network must be conv_pool_dense, "),
    ((*HYPER, "network"), "local-dir:/tmp", "network must be conv_pool_dense, "),
    ((*HYPER, "lr"), "fast", "hyper_parameters.lr must be a number, got 'fast'"),
    ((*HYPER, "lr"), -1.0, "no model can be built from x.ckpt: lr must be a positive number, got -1.0"),
    ((*HYPER, "optimizer"), ["SGD"], "hyper_parameters.optimizer must be text, got a list of 1"),
    ((*HYPER, "optimizer"), "os.system", "must be one of AdamW, Adam, NAdam, RAdam, RMSprop, SGD, got os.system"),
    ((*HYPER, "optimizer"), "Muon", "no model can be built from x.ckpt: optimizer Muon takes matrices alone"),
    ((*HYPER, "optimizer_options"), {"eps": "x"}, "must be a dictionary whose names are text or None"),
    ((*HYPER, "optimizer_options"), {"params": 1.0}, "AdamW has no option params: it has betas, eps, amsgrad"),
    ((*HYPER, "optimizer_options"), {"eps": -1.0}, "torch's AdamW refuses these options: Invalid epsilon value: -1.0"),
    ((*HYPER, "calibrate"), 1, "hyper_parameters.calibrate must be true or false, got 1"),
    ((*HYPER, "threshold"), [[0.5]], "hyper_parameters.threshold must be a number or a list or text, got a list of 1"),
    ((*HYPER, "head"), ["sigmoid"], "it names no labels and image shape"),
    (TASK, [1], "it names no labels and image shape"),
    ((*TASK, "labels"), "cat", "task.labels must be a list, got 'cat'"),
    ((*TASK, "labels"), [1, 2], "task.labels[0] must be text, got 1"),
    ((*TASK, "labels"), ["\ud800"] * 11, "labels must differ"),
    ((*TASK, "labels"), list(map(str, range(10**4))), "its weights have other names or shapes"),
    ((*TASK, "image_shape"), [1, 28], "task.image_shape must be a list of 3, got a list of 2"),
    ((*TASK, "image_shape"), [1, 10**6, 10**6], "task.image_shape must be of at most 134217728 values"),
    ((*TASK, "image_shape"), [1, 28.0, 28], "task.image_shape[1] must be a whole number, got 28.0"),
    (("loops",), "x", "loops must be a dictionary"),
    (("callbacks",), [1], "callbacks must be a dictionary"),
    ((*BEST, "best_model_path"), NOTHING, "best_model_path must be a path within a run, got nothing"),
    ((*BEST, "best_model_path"), "s3://bucket/x.ckpt", "best_model_path must be a path within a run, got 's3:"),
    (
        (*BEST, "best_k_models"),
        {"runs/../../home": torch.tensor(1.0)},
        "must be a dictionary whose names are a path",
    ),
    ((*BEST, "kth_value"), 0.5, "kth_value must be a dense tensor of floats, a single one, got 0.5"),
    ((*BEST, "kth_best_model_path"), "x.ckpt", "must be a state whose worst checkpoint is one of those kept"),
    ((*BEST, "kept"), {"val_map": 0.5}, "callbacks.BestCheckpoint.kept must be empty, or of an epoch"),
    (BEST, 5, "callbacks.BestCheckpoint must be a dictionary, got 5"),
    (STOPPING, "x", "must be a dictionary, got 'x'"),
    ((*STOPPING, "best_score"), torch.zeros(2), "best_score must be a dense tensor of floats, a single one, got 2 of"),
    ((*STOPPING, "stopping_reason"), 99, "stopping_reason must be a whole number of at least 0 and at most 4"),
    (("optimizer_states",), {}, "optimizer_states must be a list, got a dict of 0"),
    (("optimizer_states",), [{"state": {}}], "optimizer_states[0].param_groups must be a list, got nothing"),
    (("lr_schedulers",), 5, "lr_schedulers must be a list, got 5"),
    (("MNISTDataModule", "seed"), "x", "MNISTDataModule.seed must be a whole number of at least 0, got 'x'"),
    (("MNISTDataModule",), [1], "MNISTDataModule must be a dictionary, got a list of 1"),
]

# In what commands of the command line use alone.
OF_THE_DATA: list[tuple[Place, Any, str]] = [
    (DATA, [1], "datamodule_hyper_parameters must be a dictionary"),
    (DATA, "x", "datamodule_hyper_parameters must be a dictionary"),
    ((*DATA, "val_size"), "x", "datamodule_hyper_parameters.val_size must be a whole number, got 'x'"),
    ((*DATA, "val_size"), -5, "x.ckpt records data that can't be made: val_size must be at least 0, got -5"),
    ((*DATA, "unknown"), 5, "datamodule_hyper_parameters.unknown must be left out, got 5"),
]

# In what only a run that is resumed uses.
OF_A_RESUMED_RUN: list[tuple[Place, Any, str]] = [
    (("optimizer_states",), NOTHING, "can't be resumed, as it has no optimizer state: resume from last.ckpt"),
    (("optimizer_states",), [], "optimizer_states must be a list of 1, got a list of 0"),
    (("lr_schedulers",), NOTHING, "lr_schedulers must be a list, got nothing"),
    (("callbacks",), NOTHING, "callbacks must be a dictionary whose names are text, got nothing"),
    (("loops",), NOTHING, "loops must be a dictionary whose names are text, got nothing"),
    ((*STATE, 9, "exp_avg"), torch.zeros(3), "state[9].exp_avg must be a dense tensor of finite floats, 64x64x3x3 in"),
    ((*STATE, 9, "exp_avg"), torch.zeros(1).expand(64, 64, 3, 3), "got one that is not dense, 64x64x3x3 of torch.f"),
    ((*STATE, 9, "exp_avg"), torch.zeros(64, 64, 3, 3), "in the layout of its weight, got 64x64x3x3 of torch.float32"),
    ((*STATE, 9, "exp_avg_sq"), HUGE, "got one that is not dense, 1000000x1000000 of torch.float32"),
    ((*STATE, 9, "exp_avg_sq"), NOTHING, "state[9].exp_avg_sq must be a dense tensor of finite floats"),
    ((*STATE, 10, "exp_avg"), torch.full((64,), torch.nan), "got 64 of torch.float32, not all finite"),
    ((*STATE, 10, "exp_avg"), torch.zeros(64, dtype=torch.int64), "got 64 of torch.int64"),
    ((*STATE, 10, "step"), 6, "state[10].step must be a dense tensor of finite floats, a single one, got 6"),
    ((*STATE, 99), {}, "optimizer_states[0].state[99] must be left out"),
    ((*GROUP, "params"), [0], "param_groups[0].params must be a list of 13, got a list of 1"),
    ((*GROUP, "lr"), "x", "param_groups[0].lr must be a finite number, got 'x'"),
    ((*GROUP, "max_lr"), NOTHING, "param_groups[0].max_lr must be a finite number, got nothing"),
    ((*GROUP, "betas"), (0.9,), "param_groups[0].betas must be a list of 2, got a tuple of 1"),
    ((*GROUP, "amsgrad"), True, "param_groups[0].amsgrad must be False, got True"),
    ((*SCHEDULE, "last_epoch"), "x", "lr_schedulers[0].last_epoch must be a whole number"),
    (
        (*SCHEDULE, "last_epoch"),
        3 * 10**9,
        "must be a whole number of at least 0 and at most 6, got 3000000000",
    ),
    ((*SCHEDULE, "step"), 5, "lr_schedulers[0].step must be left out, got 5"),
    (LOOP, {}, "loops.fit_loop.state_dict must be a dictionary, got nothing"),
    ((*LOOP, "epoch_progress"), NOTHING, "loops.fit_loop.epoch_progress must be a dictionary"),
    ((*LOOP, "epoch_progress", "current", "completed"), -1, "current.completed must be a whole number of at least 0"),
    ((*LOOP, "epoch_progress", "reset"), 5, "loops.fit_loop.epoch_progress.reset must be left out, got 5"),
    (("epoch",), 5, "epoch must be 1, got 5"),
    (("global_step",), 10**9, "global_step must be 6 or 0, got 1000000000"),
]


def changed(run: Path, place: Place, value: Any, name: str = "x.ckpt") -> None:
    """Writes a run's last checkpoint with another value at a place."""
    content = torch.load(run / "last.ckpt", weights_only=True)
    inner = content
    for step in place[:-1]:
        inner = inner[step]
    if value is NOTHING:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    torch.save(content, name)


def check_refused(words: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Checks that a command ends with status 2 and one line that names the file."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert caught.value.code == 2, lines
    [line] = lines
    assert line.startswith("error: ")
    assert "x.ckpt" in line
    assert message in line


def names(table: list[tuple[Place, Any, str]]) -> list[str]:
    return [f"{place[-1]} of {message[:30]}" for place, _, message in table]


@pytest.mark.parametrize(("place", "value", "message"), OF_ANY_USE, ids=names(OF_ANY_USE))
def test_what_no_model_has_is_refused(
    place: Place, value: Any, message: str, stack_run: Path, workplace: Path, small_set: str
) -> None:
    changed(stack_run, place, value)
    trainer = Trainer(
        callbacks=[BestCheckpoint(dirpath="runs"), EarlyStopping("val_loss")],
        logger=False,
        enable_progress_bar=False,
        limit_test_batches=1,
    )
    model = MultiLabelClassifier(network="conv_stack")
    if place[0] in ("state_dict", "hyper_parameters"):
        with pytest.raises(InputError) as caught:
            MultiLabelClassifier.load_from_checkpoint("x.ckpt")
        assert message in str(caught.value)
    if place[0] == "hyper_parameters":  # the model here has its own
        return
    with pytest.raises(InputError) as caught:
        trainer.test(model, datamodule=MNISTDataModule(data_dir=small_set), ckpt_path="x.ckpt")
    assert "x.ckpt" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(("place", "value", "message"), OF_THE_DATA, ids=names(OF_THE_DATA))
def test_what_no_data_have_is_refused(
    place: Place, value: Any, message: str, stack_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(stack_run, place, value)
    check_refused(["test", *QUIET, "--ckpt_path", "x.ckpt"], message, capsys)


@pytest.mark.parametrize(("place", "value", "message"), OF_A_RESUMED_RUN, ids=names(OF_A_RESUMED_RUN))
def test_what_no_run_has_is_refused(
    place: Place, value: Any, message: str, stack_run: Path, workplace: Path, small_set: str
) -> None:
    changed(stack_run, place, value)
    trainer = Trainer(
        max_epochs=3,
        limit_train_batches=3,
        callbacks=[BestCheckpoint(dirpath="new"), EarlyStopping("val_loss")],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = MultiLabelClassifier(network="conv_stack", lr_schedule="one_cycle")
    data = MNISTDataModule(data_dir=small_set, val_size=100)
    with pytest.raises(InputError) as caught:
        trainer.fit(model, datamodule=data, ckpt_path="x.ckpt")
    assert message in str(caught.value)


SOME = OF_A_RESUMED_RUN[::6]  # of each kind


@pytest.mark.parametrize(("place", "value", "message"), SOME, ids=names(SOME))
def test_the_command_refuses_it_before_there_is_a_run(
    place: Place,
    value: Any,
    message: str,
    stack_run: Path,
    workplace: Path,
    small_set: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed(stack_run, place, value)
    words = ["fit", *QUIET, *BRIEF, *small(small_set), *STACK, "--trainer.max_epochs", "3"]
    check_refused([*words, "--ckpt_path", "x.ckpt"], message, capsys)
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict", "tune", "export"])
@pytest.mark.parametrize("place", [("callbacks",), ("state_dict", "decision.slopes"), DATA])
def test_every_command_names_what_is_wrong(
    command: str, place: Place, stack_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(stack_run, place, "garbage")
    words = {"tune": ["--output", "new.ckpt"], "export": ["--output", "model.pt2"], "fit": STACK}.get(command, [])
    check_refused([command, *QUIET, *words, "--ckpt_path", "x.ckpt"], "x.ckpt", capsys)


def test_weights_that_lead_to_no_numbers_are_refused(
    stack_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(stack_run / "last.ckpt", weights_only=True)
    for name, value in content["state_dict"].items():
        if name.endswith("weight"):
            value *= 1e30
    torch.save(content, "x.ckpt")
    words = ["--ckpt_path", "x.ckpt", "--trainer.limit_test_batches", "1"]
    expected = "the model's scores are not numbers, as the weights of x.ckpt are too large: use another checkpoint"
    check_refused(["test", *QUIET, *words], expected, capsys)


@pytest.mark.slow
def test_what_a_users_callback_saved_may_be_anything(stack_run: Path, workplace: Path, small_set: str) -> None:
    changed(stack_run, ("callbacks", "Own"), {"any": [HUGE, 1j, {1, 2}, b"x", torch.zeros(3).to_sparse(), None]})
    MultiLabelClassifier.load_from_checkpoint("x.ckpt")
    words = ["fit", *QUIET, *BRIEF, *small(small_set), *STACK, "--trainer.max_epochs", "3"]
    main([*words, "--ckpt_path", "x.ckpt"])


class Flat(nn.Module):
    """A network of a user's own, with a buffer that is not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(28 * 28, 11)
        self.register_buffer("mask", torch.full((3,), -torch.inf))

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.scores(images.flatten(1) / 255)
        return scores


class WithSGD(MultiLabelClassifier):
    """A model with an optimizer of a user's own, with or without a schedule."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, fused=True)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}


class Keeping(Callback):
    """A callback of a user's own, which saves unusual values."""

    def state_dict(self) -> dict[str, Any]:
        return {"one": torch.zeros(1).expand(5), "two": {1, 2}, "three": {("a", 1): None}}


VALID: dict[str, Callable[[], MultiLabelClassifier]] = {
    "a network": lambda: MultiLabelClassifier(network=Flat()),
    "an optimizer": WithSGD,
    "a schedule": lambda: MultiLabelClassifier(network="conv_stack", lr_schedule="one_cycle"),
}


def trained(model: MultiLabelClassifier, epochs: int, checkpoint: str | None, data_dir: str, scaler: Any) -> Trainer:
    """Trains, or resumes a training, with all kinds of callbacks."""
    trainer = Trainer(
        accelerator="cpu",
        plugins=MixedPrecision("16-mixed", "cpu", scaler=scaler) if scaler else None,
        max_epochs=epochs,
        limit_train_batches=2,
        callbacks=[BestCheckpoint(dirpath="."), LastCheckpoint("."), EarlyStopping("val_loss"), Timer(), Keeping()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=MNISTDataModule(data_dir=data_dir, val_size=100), ckpt_path=checkpoint)
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("name", VALID)
def test_what_a_users_own_parts_save_is_resumed(name: str, scaled: bool, workplace: Path, small_set: str) -> None:
    for epochs, path in {1: None, 2: "last.ckpt", 4: "best.ckpt"}.items():
        scaler = torch.amp.GradScaler("cpu") if scaled else None
        assert trained(VALID[name](), epochs, path, small_set, scaler).current_epoch == epochs
    assert ("MixedPrecision" in torch.load("last.ckpt", weights_only=True)) == scaled
    if scaled:
        changed(Path(), ("MixedPrecision", "scale"), "x")
        with pytest.raises(InputError, match=r"x\.ckpt can't be used: MixedPrecision\.scale must be a finite number"):
            trained(VALID[name](), 5, "x.ckpt", small_set, torch.amp.GradScaler("cpu"))


@pytest.mark.parametrize("part", ["data_dir", "val_size", "digest"])
def test_the_state_of_the_data_may_lack_parts(part: str, workplace: Path, small_set: str) -> None:
    model = VALID["a schedule"]
    trained(model(), 1, None, small_set, None)
    content = torch.load("last.ckpt", weights_only=True)
    del content["MNISTDataModule"][part]
    torch.save(content, "x.ckpt")
    assert trained(model(), 2, "x.ckpt", small_set, None).current_epoch == 2


def nested() -> list[Any]:
    """Returns a list of 2^40 values, in forty."""
    inner: list[Any] = []
    for _ in range(40):
        inner = [inner, inner]
    return inner


def test_values_without_bounds_are_refused(stack_run: Path, workplace: Path) -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in (circle, nested(), 10**100):
        changed(stack_run, (*HYPER, "extra"), value)
        with pytest.raises(InputError, match=r"^x\.ckpt can't be used: it holds values within themselves, or too many"):
            MultiLabelClassifier.load_from_checkpoint("x.ckpt")


OFFLINE = """
import atexit, socket, sys, time

def refuse(*_, **__):
    print("CONNECTS", file=sys.stderr)
    raise OSError("the network is down")

socket.socket.connect = socket.getaddrinfo = refuse
from multilabel_pl.checkpoint import read_checkpoint
from multilabel_pl.cli.main import main
started = time.monotonic()
atexit.register(lambda: print("seconds:", time.monotonic() - started))
main(sys.argv[1:])
"""
NOBODY = 65534


def in_python(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.slow
def test_pretrained_weights_in_a_file_are_not_looked_for(workplace: Path, small_set: str) -> None:
    main(["fit", *QUIET, *BRIEF, *small(small_set), "--model.network", "test_resnet"])
    changed(Path("runs/version_0"), (*HYPER, "pretrained"), True)
    ended = in_python(OFFLINE, "test", *QUIET, "--ckpt_path", "x.ckpt", "--figures", "false")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""


@pytest.mark.slow
def test_without_a_network_pretrained_weights_are_said_to_be_missing(
    workplace: Path, small_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = workplace / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    words = [*QUIET, *small(small_set), "--model.network", "resnet18", "--model.pretrained", "true"]
    ended = in_python(OFFLINE, "fit", *words)
    *_, line = ended.stderr.splitlines()
    start = "error: the network resnet18 can't be made for images of 1x28x28: its pretrained weights are not in "
    assert ended.returncode == 2
    assert line.startswith(f"{start}{cache}, and https://huggingface.co does not answer: connect, copy that folder")
    seconds = float(ended.stdout.rpartition("seconds: ")[2])
    assert seconds < 15  # two or three on a machine that does nothing else; the Hub's client tries for 50


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may be someone else")
def test_a_file_without_permission_is_called_so(stack_run: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # which others may enter
        Path(folder).chmod(0o755)
        changed(stack_run, ("epoch",), 1, f"{folder}/x.ckpt")
        Path(folder, "x.ckpt").chmod(0o600)
        Path(folder, "locked").mkdir(mode=0o700)
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            for path in (f"{folder}/x.ckpt", f"{folder}/locked/x.ckpt"):
                with pytest.raises(
                    InputError, match=f"^no permission to read {path}: give best, last, or another file$"
                ):
                    read_checkpoint(Path(path))
        finally:
            os.setresuid(0, 0, 0)


def test_what_is_no_file_is_refused_at_once(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("x.ckpt")
    expected = "no checkpoint at x.ckpt: give best, last, or a file, not a pipe or a device"
    check_refused(["test", *QUIET, "--ckpt_path", "x.ckpt"], expected, capsys)
    for path, kind in {"/dev/zero": "pipe or a device", ".": "folder"}.items():
        with pytest.raises(InputError, match=f"^no checkpoint at {path}: give best, last, or a file, not a {kind}$"):
            MultiLabelClassifier.load_from_checkpoint(path)


def test_a_file_that_would_grow_in_memory_is_refused(stack_run: Path, workplace: Path) -> None:
    with ZipFile(stack_run / "last.ckpt") as archive, ZipFile("x.ckpt", "w", ZIP_DEFLATED) as bomb:
        for part in archive.namelist():
            bomb.writestr(part, archive.read(part))
    with pytest.raises(InputError, match=r"^x\.ckpt is damaged or not a checkpoint: it claims to hold more than its"):
        MultiLabelClassifier.load_from_checkpoint("x.ckpt")


def test_a_model_built_from_a_file_is_on_the_processor(checkpoint: str) -> None:
    """It is first built without memory, on a device of its own, where it would keep looking for images."""
    model = build_model(MultiLabelClassifier, read_checkpoint(Path(checkpoint)), Path(checkpoint))
    assert model.device == torch.device("cpu")
