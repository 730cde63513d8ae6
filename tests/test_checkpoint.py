import copy
import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from multilabel_pl import MNISTDataModule, MultiLabelClassifier, Task, Trainer
from multilabel_pl.checkpoint import read_checkpoint, write_checkpoint
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, LABELS, read_digits
from multilabel_pl.errors import InputError
from tests.conftest import BRIEF, QUIET, copied_run, small

FIXTURES = Path(__file__).parent / "fixtures"  # checkpoints of version 0.1.0, and what it predicted
CONV_STACK, KERAS = FIXTURES / "conv_stack_0.1.0.ckpt", FIXTURES / "keras_0.1.0.ckpt"
CHECKED = 20  # test images in the tables beside them


@pytest.fixture
def checkpoint(small_run: Path) -> str:
    return str(small_run / "best.ckpt")


class Payload:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch struck",)


def fail(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Runs a command that must fail and returns the lines of its errors."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if not line.startswith("note: ")]


@pytest.mark.parametrize("place", ["", "hyper_parameters", "state_dict", "callbacks"])
def test_a_payload_is_refused_and_does_not_run(place: str, checkpoint: str, workplace: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    (content[place] if place else content)["payload"] = Payload()
    torch.save(content, "model.ckpt")
    torch.load("model.ckpt", weights_only=False)
    assert Path("struck").exists()  # it is a real one
    Path("struck").unlink()
    with pytest.raises(
        InputError, match=r"^model\.ckpt is damaged, or holds more than values and tensors, which could"
    ):
        read_checkpoint(Path("model.ckpt"))
    assert not Path("struck").exists()


OUTPUTS = {"tune": {"output": "new.ckpt"}, "export": {"output": "model.pt2"}}


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict", "tune", "export"])
def test_no_command_runs_a_payload(
    command: str, checkpoint: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({**torch.load(checkpoint, weights_only=True), "payload": Payload()}, "model.ckpt")
    [line] = fail(capsys, command, *QUIET, "--ckpt_path", "model.ckpt")
    assert line.startswith("error: model.ckpt is damaged, or holds more than values and tensors")
    run = getattr(Trainer(max_epochs=1, logger=False, enable_checkpointing=False), command)
    model = MultiLabelClassifier(task=Task(LABELS, (1, 28, 28)))
    with pytest.raises(InputError, match="holds more than values and tensors"):
        run(model, datamodule=MNISTDataModule(), ckpt_path="model.ckpt", **OUTPUTS.get(command, {}))
    assert not Path("struck").exists()


def test_loading_in_python_runs_no_payload(checkpoint: str, workplace: Path) -> None:
    torch.save({**torch.load(checkpoint, weights_only=True), "payload": Payload()}, "model.ckpt")
    with pytest.raises(InputError, match="holds more than values and tensors"):
        MultiLabelClassifier.load_from_checkpoint("model.ckpt", weights_only=False)
    assert not Path("struck").exists()


def test_nothing_is_imported_that_a_checkpoint_names(
    checkpoint: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(workplace)
    Path("trap.py").write_text("from pathlib import Path\nPath('struck').touch()\nData = print\n")
    content = torch.load(checkpoint, weights_only=True)
    content["datamodule_hyper_parameters"]["class_path"] = "trap.Data"
    torch.save(content, "data.ckpt")
    main(["test", *QUIET, "--ckpt_path", "data.ckpt", "--figures", "false", "--trainer.limit_test_batches", "1"])
    assert "note: data.ckpt was trained on trap.Data, which only --data may import" in capsys.readouterr().err
    content["hyper_parameters"]["_instantiator"] = "trap.Data"
    torch.save(content, "model.ckpt")
    with pytest.raises(InputError, match=r"asks for the import of trap\.Data"):
        MultiLabelClassifier.load_from_checkpoint("model.ckpt")
    assert not Path("struck").exists()


def test_of_a_damaged_checkpoint_the_one_before_is_named(
    small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied_run(small_run, workplace)
    for name in ("last", "newer"):
        (run / f"{name}.ckpt").write_bytes((small_run / "last.ckpt").read_bytes()[:100_000])
    assert fail(capsys, "fit", *QUIET, *BRIEF, "--ckpt_path", "last") == [
        "error: runs/version_0/last.ckpt is damaged or not a checkpoint; give best, last, or a file; the one before it "
        "is runs/version_0/best.ckpt"
    ]
    Path("text.ckpt").write_text("of no run")
    assert fail(capsys, "test", *QUIET, "--ckpt_path", "text.ckpt") == [
        "error: text.ckpt is damaged or not a checkpoint; give best, last, or a file"
    ]


def without(content: dict[str, Any], *names: str) -> dict[str, Any]:
    """Returns a copy of a checkpoint's content without an entry, given by the names that lead to it."""
    content = copy.deepcopy(content)
    place = content
    for name in names[:-1]:
        place = place[name]
    del place[names[-1]]
    return content


NO_MODEL = "x.ckpt is not a checkpoint of multilabel_pl: it "
CONTENTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a list": (lambda _: [1, 2], f"{NO_MODEL}has no hyperparameters or no weights"),
    "no hyperparameters": (lambda c: without(c, "hyper_parameters"), f"{NO_MODEL}has no hyperparameters or no weights"),
    "no weights": (lambda c: without(c, "state_dict"), f"{NO_MODEL}has no hyperparameters or no weights"),
    "no task": (lambda c: without(c, "hyper_parameters", "task"), f"{NO_MODEL}names no labels and image shape"),
    "no head": (lambda c: without(c, "hyper_parameters", "head"), f"{NO_MODEL}names no labels and image shape"),
    "a weight less": (
        lambda c: without(c, "state_dict", "network.scores.bias"),
        "x.ckpt is another model's checkpoint: its weights have other names or shapes",
    ),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_is_no_checkpoint_of_ours_is_refused_with_the_reason(
    name: str, checkpoint: str, workplace: Path
) -> None:
    change, message = CONTENTS[name]
    torch.save(change(torch.load(checkpoint, weights_only=True)), "x.ckpt")
    with pytest.raises(InputError) as caught:
        MultiLabelClassifier.load_from_checkpoint("x.ckpt")
    assert str(caught.value) == message


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "x.ckpt is damaged or not a checkpoint; give best, last, or a file"),
    "truncated": (lambda c: c[:-1000], "x.ckpt is damaged or not a checkpoint; give best, last, or a file"),
    "a flipped byte": (
        lambda c: c[:3_000_000] + bytes([c[3_000_000] ^ 1]) + c[3_000_001:],
        "x.ckpt is damaged: its part archive/data/",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused_with_the_reason(name: str, checkpoint: str, workplace: Path) -> None:
    change, message = DAMAGE[name]
    Path("x.ckpt").write_bytes(change(Path(checkpoint).read_bytes()))
    with pytest.raises(InputError) as caught:
        read_checkpoint(Path("x.ckpt"))
    assert str(caught.value).startswith(message)


def test_a_missing_checkpoint_is_named(workplace: Path) -> None:
    with pytest.raises(InputError, match=r"^no checkpoint at no\.ckpt: give best, last, or a file$"):
        read_checkpoint(Path("no.ckpt"))


def test_a_checkpoint_is_written_as_a_whole_or_not_at_all(workplace: Path) -> None:
    write_checkpoint({"step": 1}, Path("new/x.ckpt"))
    with pytest.raises(AttributeError, match="pickle"):
        write_checkpoint({"step": lambda: 2}, Path("new/x.ckpt"))
    assert torch.load("new/x.ckpt", weights_only=True) == {"step": 1}
    assert [path.name for path in Path("new").iterdir()] == ["x.ckpt"]


@pytest.mark.slow
def test_a_resumed_run_whose_loss_is_lost_leaves_the_last_sound_checkpoint(
    workplace: Path, small_set: str, small_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied_run(small_run, workplace)  # of six steps
    sound = (run / "last.ckpt").read_bytes()
    spoil = '[{"class_path": "tests.callbacks.Spoil", "init_args": {"step": 7}}]'
    more = ["--trainer.max_epochs", "4", "--trainer.limit_train_batches", "3", "--trainer.callbacks", spoil]
    [line] = fail(capsys, "fit", *QUIET, *small(small_set), *more, "--ckpt_path", "last")
    assert line == "error: the loss of step 7 was not a finite number: try a lower --model.lr"
    assert (run / "last.ckpt").read_bytes() == sound


def recorded(checkpoint: Path) -> list[tuple[list[str], list[float]]]:
    """Returns the tags and the probabilities that version 0.1.0 predicted, of each image."""
    return table(checkpoint.with_suffix(".csv"))[:CHECKED]


def table(path: Path) -> list[tuple[list[str], list[float]]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(row["predicted_tags"].split("|"), [float(row[label]) for label in LABELS]) for row in rows]


def check_same(found: list[tuple[list[str], list[float]]], expected: list[tuple[list[str], list[float]]]) -> None:
    assert [tags for tags, _ in found] == [tags for tags, _ in expected]
    for (_, probabilities), (_, numbers) in zip(found, expected, strict=True):
        assert probabilities == pytest.approx(numbers, abs=5e-6)


@pytest.mark.parametrize("checkpoint", [CONV_STACK, KERAS], ids=lambda path: path.stem)
def test_checkpoints_of_version_0_1_0_predict_the_same(checkpoint: Path) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    images = read_digits(ARCHIVES, "test").images[:50]
    if checkpoint == KERAS:
        images = F.interpolate(images.float(), size=(8, 8), mode="area").to(torch.uint8)
    predictions = model.predict_images(images[:CHECKED])
    expected = recorded(checkpoint)
    assert len(expected) == CHECKED
    check_same([(one.tags, list(one.probabilities.values())) for one in predictions], expected)


def test_what_version_0_1_0_learned_is_kept() -> None:
    before = torch.load(CONV_STACK, weights_only=True)
    model = MultiLabelClassifier.load_from_checkpoint(CONV_STACK)
    assert model.task == Task(LABELS, (1, 28, 28), "mnist", "white")
    torch.testing.assert_close(model.decision.slopes, 1 / before["state_dict"]["temperatures"])
    assert model.decision.offsets.tolist() == [0] * 11
    torch.testing.assert_close(model.decision.thresholds, before["state_dict"]["thresholds"])
    assert model.loss.pos_weight is not None
    assert model.loss.pos_weight.tolist() == pytest.approx(before["hyper_parameters"]["pos_weight"])
    keras = MultiLabelClassifier.load_from_checkpoint(KERAS)
    assert keras.hparams["network"] == "conv_pool_dense_keras"
    assert keras.task == Task(LABELS, (1, 8, 8))


def test_the_command_line_predicts_with_a_checkpoint_of_version_0_1_0(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--ckpt_path", str(CONV_STACK), "--output", "p.csv", "--figure", "false"]
    main(["predict", *QUIET, *words, "--trainer.limit_predict_batches", "1"])
    assert capsys.readouterr().err == ""
    check_same(table(Path("p.csv"))[:CHECKED], recorded(CONV_STACK))


@pytest.mark.slow
def test_a_checkpoint_without_optimizer_state_is_not_resumed(
    workplace: Path, small_set: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as the small one of version 0.1.0 here."""
    words = [*QUIET, *small(small_set), "--trainer.max_epochs", "3"]
    [line] = fail(capsys, "fit", *words, "--ckpt_path", str(CONV_STACK))
    assert line.startswith(f"error: {CONV_STACK} ")
    assert "optimizer" in line
    assert not Path("runs").exists()


@pytest.mark.slow
def test_training_is_continued_in_python_from_a_checkpoint_of_version_0_1_0(workplace: Path, small_set: str) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(CONV_STACK)
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(model, datamodule=MNISTDataModule(data_dir=small_set, val_size=100))
    assert trainer.callback_metrics["val_loss"].isfinite()
    trainer.save_checkpoint("new.ckpt")
    again = MultiLabelClassifier.load_from_checkpoint("new.ckpt")
    assert again.task == Task(LABELS, (1, 28, 28), "mnist")  # the checkpoint's, not that of the data
    images = read_digits(ARCHIVES, "test").images[:CHECKED]
    assert again.predict_images(images) == model.predict_images(images)
