"""The Trainer's own methods, and evaluations that leave a report."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.crash import differences
from multilabel_pl import MNISTDataModule, MultiLabelClassifier, Task, Trainer
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import LABELS
from multilabel_pl.digests import file_digest
from multilabel_pl.errors import InputError
from multilabel_pl.results.evaluation_writer import FIGURES
from multilabel_pl.results.outputs import read_outputs
from multilabel_pl.training.checkpointing import LastCheckpoint
from tests.conftest import BRIEF, QUIET, copied_run
from tests.data.test_mnist import write_set

SILENT: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
}
TASK = Task(LABELS, (1, 28, 28), "resize")
TUNE = ["tune", *QUIET, "--figures", "false", "--output", "new/model.ckpt"]


@pytest.fixture
def data(small_set: str) -> MNISTDataModule:
    return MNISTDataModule(data_dir=small_set, val_size=100)


def metrics_of(folder: str) -> dict[str, float]:
    content: dict[str, float] = json.loads(Path(folder, "metrics.json").read_text())
    return content


def test_a_model_is_tested_as_it_is_after_another_evaluation_of_a_checkpoint(
    data: MNISTDataModule, small_run: Path, workplace: Path
) -> None:
    folder = copied_run(small_run, workplace)
    torch.manual_seed(0)
    fresh = MultiLabelClassifier(task=TASK)
    weights = {name: value.clone() for name, value in fresh.state_dict().items()}
    [expected] = Trainer(**SILENT).test(fresh, datamodule=data, verbose=False)
    trainer = Trainer(**SILENT)
    trainer.validate(MultiLabelClassifier(task=TASK), datamodule=data, ckpt_path=folder / "best.ckpt", figures=False)
    [tested] = trainer.test(fresh, datamodule=data, figures=False)
    assert differences(fresh.state_dict(), weights) == []
    assert tested == pytest.approx(expected)
    [of_checkpoint] = trainer.test(
        MultiLabelClassifier(task=TASK), datamodule=data, ckpt_path=folder / "best.ckpt", figures=False
    )
    assert tested["test_loss"] != pytest.approx(of_checkpoint["test_loss"], rel=1e-3)


def test_a_report_is_beside_the_checkpoint_that_it_is_about(
    data: MNISTDataModule, small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied_run(small_run, workplace)
    trainer = Trainer(**SILENT)
    trainer.validate(MultiLabelClassifier(task=TASK), datamodule=data, ckpt_path=folder / "best.ckpt", figures=False)
    title, _ = (folder / "validate" / "report.md").read_text().split("\n", 1)
    assert title == f"# validate of {folder}/best.ckpt on {data.folder}"
    assert f"written to {folder}/validate\n" in capsys.readouterr().out
    trainer.test(MultiLabelClassifier(task=TASK), datamodule=data, figures=False)
    assert "written to" not in capsys.readouterr().out
    assert not (folder / "test").exists()


def test_the_report_of_tune_is_of_the_checkpoint_that_it_writes(
    small_run: Path, small_set: str, workplace: Path
) -> None:
    copied_run(small_run, workplace)
    Path("new").mkdir()
    Path("new/model.ckpt").write_text("earlier")
    words = ["--data.data_dir", small_set, "--threshold", "0.3", "--output", "new/model.ckpt"]
    main(["tune", *QUIET, *words])
    assert read_outputs(Path("new/tune/outputs.npz")).digest == file_digest(Path("new/model.ckpt"))
    assert file_digest(Path("new/model.ckpt"))[:12] in Path("new/tune/report.html").read_text()


def test_what_an_earlier_evaluation_drew_does_not_stay_beside_new_figures(
    data: MNISTDataModule, small_run: Path, workplace: Path
) -> None:
    folder = copied_run(small_run, workplace) / "validate"
    trainer, model = Trainer(**SILENT), MultiLabelClassifier(task=TASK)
    trainer.validate(model, datamodule=data, ckpt_path=folder.parent / "best.ckpt")
    drawn = {path.name for path in folder.glob("*.png")}
    assert {f"{name}.png" for name in ("f1", "confusion", "training")} < drawn <= set(FIGURES)
    (folder / "own.png").touch()
    trainer.validate(model, datamodule=data, ckpt_path=folder.parent / "best.ckpt", figures=False)
    left = {"metrics.json", "mistakes.csv", "outputs.npz", "report.md", "own.png"}
    assert {path.name for path in folder.iterdir()} == left


def test_tune_learns_thresholds_by_a_rule(
    run_folder: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied_run(run_folder, workplace)
    main([*TUNE, "--threshold", "recall>=0.99"])
    assert "written to new/model.ckpt: thresholds by recall>=0.99\n" in capsys.readouterr().out
    tuned = metrics_of("new/tune")
    assert 0.99 <= tuned["val_recall_macro"] < 0.995
    assert Path("new/tune/report.md").read_text().startswith("# tune of new/model.ckpt on MNIST\n")
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt", "metrics.csv"}
    main(["validate", *QUIET, "--figures", "false", "--ckpt_path", "new/model.ckpt"])
    assert metrics_of("new/validate") == pytest.approx(tuned)


@pytest.mark.parametrize(
    ("words", "threshold", "calibrate", "changed"),
    [
        (["--threshold", "0.25"], 0.25, False, {"thresholds"}),
        (["--threshold", "f1", "--calibrate", "true"], "f1", True, {"slopes", "offsets", "thresholds"}),
    ],
    ids=["a number", "calibration"],
)
def test_tune_changes_the_decision_and_nothing_else(
    words: list[str],
    threshold: float | str,
    calibrate: bool,
    changed: set[str],
    stack_run: Path,
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = copied_run(stack_run, workplace) / "best.ckpt"
    before, old = path.read_bytes(), torch.load(path, weights_only=True)
    main([*TUNE, *words])
    end = f"written to new/model.ckpt: thresholds by {threshold}{', calibrated' if calibrate else ''}\n"
    assert end in capsys.readouterr().out
    assert path.read_bytes() == before
    new = torch.load("new/model.ckpt", weights_only=True)
    asked = {f"/hyper_parameters/{name}" for name in ("threshold", "calibrate")}
    differing = set(differences(old, new))
    assert {place for place in differing if place not in asked} == {f"/state_dict/decision.{name}" for name in changed}
    assert (new["hyper_parameters"]["threshold"], new["hyper_parameters"]["calibrate"]) == (threshold, calibrate)
    model = MultiLabelClassifier.load_from_checkpoint("new/model.ckpt")
    assert model.decision.calibrate is calibrate
    assert (model.decision.slopes != 1).any().item() is calibrate
    if threshold == 0.25:
        assert model.decision.thresholds.tolist() == [0.25] * 11


def test_tune_without_options_learns_what_the_checkpoint_knows(small_run: Path, workplace: Path) -> None:
    path = copied_run(small_run, workplace) / "best.ckpt"
    main(TUNE)
    old, new = (MultiLabelClassifier.load_from_checkpoint(name) for name in (path, "new/model.ckpt"))
    assert torch.allclose(new.decision.thresholds, old.decision.thresholds, atol=1e-5)
    main([*TUNE[:-1], "calibrated.ckpt", "--calibrate", "true"])
    main([*TUNE[:-1], "back.ckpt", "--calibrate", "false", "--ckpt_path", "calibrated.ckpt"])
    back = MultiLabelClassifier.load_from_checkpoint("back.ckpt")
    assert back.decision.slopes.tolist() == [1] * 11
    assert torch.allclose(back.decision.thresholds, old.decision.thresholds, atol=1e-5)


def test_tune_needs_validation_images(small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", *QUIET, *BRIEF, "--data.data_dir", small_set, "--data.val_size", "0"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([*TUNE, "--ckpt_path", "last", "--threshold", "0.5"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: there are no images to validate on: val_size is 0; ")
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("tune", {"output": "x.ckpt"}, "^tune needs a checkpoint to start from: give ckpt_path$"),
        ("tune", {"ckpt_path": "x.ckpt"}, "^tune needs an output: the checkpoint to write, ending in .ckpt$"),
        ("predict", {}, "^predict needs an output, or a checkpoint to write it beside$"),
        ("export", {}, "^export needs an output, or a checkpoint to write it beside$"),
    ],
)
def test_methods_need_a_place_to_write_to(
    method: str, options: dict[str, str], message: str, data: MNISTDataModule, workplace: Path
) -> None:
    with pytest.raises(InputError, match=message):
        getattr(Trainer(**SILENT), method)(MultiLabelClassifier(task=TASK), datamodule=data, **options)
    assert list(workplace.iterdir()) == []


def test_tune_reports_labels_with_few_positives(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(workplace / "set", digits=[1] * 20)
    main(["fit", *QUIET, *BRIEF, "--data.data_dir", "set", "--data.val_size", "4", "--model.threshold", "0.5"])
    assert "note:" not in capsys.readouterr().err
    main([*TUNE, "--threshold", "f1"])
    first = "0 (0), 1 (4), 2 (0), 3 (0), 4 (0), 5 (0), 6 (0), 7 (0), 8 (0), 9 (0)"
    assert f"note: few positives to learn a threshold from: {first} and 1 more\n" in capsys.readouterr().err


def test_gradients_are_clipped_in_mixed_precision(data: MNISTDataModule, workplace: Path) -> None:
    model = MultiLabelClassifier(optimizer="SGD", lr=1.0, task=TASK)
    before = torch.nn.utils.parameters_to_vector(model.parameters()).clone()
    Trainer(**SILENT, max_steps=2, precision="bf16-mixed", gradient_clip_val=1e-3).fit(model, datamodule=data)
    moved = (torch.nn.utils.parameters_to_vector(model.parameters()) - before).norm().item()
    assert 0 < moved < 2.1e-3


def test_thresholds_are_the_same_in_half_precision(data: MNISTDataModule, small_run: Path, workplace: Path) -> None:
    path = copied_run(small_run, workplace) / "best.ckpt"
    model = MultiLabelClassifier(task=TASK)
    Trainer(**SILENT, precision="bf16-true").test(model, datamodule=data, ckpt_path=path, figures=False)
    learned = torch.load(path, weights_only=True)["state_dict"]["decision.thresholds"]
    assert torch.equal(model.decision.thresholds, learned)
    assert next(model.network.parameters()).dtype == torch.bfloat16


def test_another_checkpoint_is_promised_nothing(data: MNISTDataModule, small_run: Path, workplace: Path) -> None:
    path = copied_run(small_run, workplace) / "best.ckpt"  # by f1
    model = MultiLabelClassifier(threshold="recall>=0.9@0.95", task=TASK)
    Trainer(**SILENT).test(model, datamodule=data, ckpt_path=path, figures=False)
    assert "Promised" not in (path.parent / "test" / "report.md").read_text()


def test_a_fit_after_an_evaluation_knows_nothing_of_its_checkpoint(
    data: MNISTDataModule, small_run: Path, workplace: Path
) -> None:
    path = copied_run(small_run, workplace) / "last.ckpt"
    early = EarlyStopping("val_loss", strict=False)
    torch.save({**torch.load(path, weights_only=True), "stopped_by": [early.state_key]}, path)
    silent = {**SILENT, "enable_checkpointing": True}
    trainer = Trainer(**silent, max_steps=2, callbacks=[early, LastCheckpoint(str(path.parent))])
    trainer.test(MultiLabelClassifier(task=TASK), datamodule=data, ckpt_path=path, figures=False)
    trainer.fit(MultiLabelClassifier(optimizer="SGD", task=TASK), datamodule=data)
    assert trainer.global_step == 2


def test_a_checkpoint_is_used_after_a_fit_as_before_it(data: MNISTDataModule, small_run: Path, workplace: Path) -> None:
    path = copied_run(small_run, workplace) / "best.ckpt"
    content = torch.load(path, weights_only=True)
    del content["optimizer_states"]
    torch.save(content, path)
    trainer = Trainer(**SILENT, max_steps=2)
    trainer.fit(MultiLabelClassifier(task=TASK), datamodule=data)
    model = MultiLabelClassifier(task=TASK)
    trainer.tune(model, data, path, threshold=0.3, output="tuned.ckpt", figures=False)
    tuned = MultiLabelClassifier.load_from_checkpoint("tuned.ckpt")
    assert tuned.decision.thresholds.tolist() == pytest.approx([0.3] * 11)


def test_a_bare_trainer_logs_nothing_and_evaluates(small_set: str, workplace: Path) -> None:
    trainer = Trainer(barebones=True, max_epochs=1, limit_train_batches=2, accelerator="cpu")
    model = MultiLabelClassifier()
    trainer.fit(model, datamodule=MNISTDataModule(data_dir=small_set, val_size=100))
    assert trainer.log_every_n_steps == 0  # type: ignore[attr-defined] # undeclared
    trainer.test(model, datamodule=MNISTDataModule(data_dir=small_set, val_size=100))
    assert model.evaluation is not None
    assert len(model.evaluation.targets) == 300


def test_an_interval_of_few_steps_is_not_that_of_the_next_fit(small_set: str, workplace: Path) -> None:
    trainer = Trainer(**SILENT)
    for val_size, steps in ((536, 1), (100, 8)):
        trainer.fit_loop.max_epochs = trainer.current_epoch + 1
        trainer.fit(MultiLabelClassifier(), datamodule=MNISTDataModule(data_dir=small_set, val_size=val_size))
        assert trainer.log_every_n_steps == steps  # type: ignore[attr-defined] # undeclared


class Endless(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches without end."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.zeros(4, 11)


class Plain(LightningDataModule):
    """Data that are none of this package's."""

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(Endless(), batch_size=None)


class Skipping(MultiLabelClassifier):
    """Skips its first step, as Lightning lets a model do."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
        return None if batch_idx == 0 else super().training_step(batch, batch_idx)


def test_other_data_and_models_are_trained(workplace: Path) -> None:
    trainer = Trainer(**SILENT, max_steps=2)
    trainer.fit(Skipping(task=TASK), datamodule=Plain())
    assert trainer.global_step == 2
    assert trainer.log_every_n_steps == 50  # type: ignore[attr-defined] # undeclared
