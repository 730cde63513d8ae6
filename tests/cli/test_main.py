"""The command line, from a training run to its evaluation, prediction and repetition."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import torch

from multilabel_pl import MNISTDataModule, MultiLabelClassifier
from multilabel_pl.cli.commands import COMMANDS
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, LABELS, read_digits
from multilabel_pl.model.head import HeadName
from multilabel_pl.model.rules import Rule
from multilabel_pl.model.thresholds import learn_thresholds
from tests.conftest import BRIEF, QUIET, copied_run, small, started
from tests.data.tagged_images import write_tagged
from tests.data.test_mnist import write_set

AVERAGES = [f"{name}_{average}" for average in ("macro", "micro", "samples") for name in ("precision", "recall", "f1")]
DECISIONS = ["label_accuracy", "exact_match", *AVERAGES]
RANKINGS = ["map", "auroc", "ranking_loss", "calibration_error", "label_accuracy_of_no_tags"]
METRICS = ["loss", *DECISIONS, *(f"{name}_at_half" for name in DECISIONS), *RANKINGS]
LEADING = ["exact_match", "f1_macro", "f1_micro"]
INTERVALS = [
    f"{name}{bound}" for name in [*LEADING, *(f"{n}_at_half" for n in LEADING), "map"] for bound in ("_low", "_high")
]
FIGURES = ["precision_recall", "f1", "confusion", "cooccurrence", "reliability", "mistakes", "images", "training"]
CONFIGS = Path(__file__).parents[2] / "configs"
OWN_DATA = ("scenes", "table")  # configurations that are not for sets in MNIST's format
PARAMETERS = {"keras_sigmoid": 68_523, "keras_softmax": 68_523, "scenes": 61_051, "table": 61_339}


def load(path: str | Path) -> Any:
    return torch.load(path, weights_only=True)


def read_rows(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_fit_leaves_a_run_with_all_that_belongs_to_it(runs: dict[HeadName, Path], head: HeadName) -> None:
    folder = runs[head]
    names = sorted(path.name.split(".")[0] for path in folder.glob("[!.]*"))
    assert names == ["best", "config", "events", "hparams", "last", "metrics"]
    assert [path.name for path in folder.parent.parent.iterdir()] == ["runs"]  # nothing stray
    rows = read_rows(folder / "metrics.csv")
    assert len([row for row in rows if row["train_loss"]]) == 4  # every 50 of 200 steps
    epochs = [row for row in rows if row["val_loss"]]
    assert len(epochs) == 2
    assert all(f"val_{name}" in epochs[0] for name in METRICS)
    options = load(folder / "best.ckpt")["hyper_parameters"]
    assert options["task"]["labels"] == list(LABELS)
    assert options["head"] == head


def test_fit_reports_where_the_checkpoint_is_and_how_to_test_it(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *QUIET, *BRIEF, *small(small_set)])
    kept, *rest = capsys.readouterr().out.splitlines()[-3:]
    [epoch] = [row for row in read_rows("runs/version_0/metrics.csv") if row["val_loss"]]
    values = [f"{name} {float(epoch[name]):.4f}" for name in ("val_loss", "val_map", "val_exact_match")]
    assert kept == f"kept epoch 1: {', '.join(values)}"
    assert rest == [
        "trained: runs/version_0/best.ckpt",
        "test it: python -m multilabel_pl test runs/version_0/best.ckpt",
    ]


def test_fit_names_a_checkpoint_that_is_elsewhere(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = ["--best_checkpoint.dirpath", "kept", "--last_checkpoint.dirpath", "kept"]
    main(["fit", *QUIET, *BRIEF, *small(small_set), *elsewhere])
    assert f"trained: {Path('kept/best.ckpt').resolve()}" in capsys.readouterr().out.splitlines()


def evaluated(command: str, prefix: str, folder: Path, out: str) -> dict[str, float]:
    """Checks the report of an evaluation, on standard output and beside the checkpoint, and returns its metrics."""
    assert f"using {folder.relative_to(Path.cwd())}/best.ckpt" in out
    metrics: dict[str, float] = json.loads((folder / command / "metrics.json").read_text())
    assert list(metrics) == [f"{prefix}_{name}" for name in [*METRICS, *INTERVALS]]
    assert all(f"{value:.4f}" in out for value in metrics.values())
    assert "\n| ≥5 " in (folder / command / "report.md").read_text()
    return metrics


def test_the_main_job(run_folder: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Validate, test and predict with nothing but the run folder."""
    folder = copied_run(run_folder, workplace)
    main(["validate", *QUIET, "--figures", "false"])
    evaluated("validate", "val", folder, capsys.readouterr().out)
    main(["test", *QUIET])
    metrics = evaluated("test", "test", folder, capsys.readouterr().out)
    report = (folder / "test" / "report.md").read_text()
    for name in FIGURES:
        assert f"({name}.png)" in report
        assert matplotlib.image.imread(folder / "test" / f"{name}.png").std() > 0.1  # something is drawn
    assert metrics["test_label_accuracy_of_no_tags"] == pytest.approx(0.8649, abs=1e-6)
    assert metrics["test_exact_match"] > 0.7
    assert metrics["test_map"] > 0.8

    main(["predict", *QUIET])
    thresholds = load(folder / "best.ckpt")["state_dict"]["decision.thresholds"].tolist()
    check_predictions(folder / "predict" / "predictions.csv", thresholds, metrics["test_exact_match"])
    assert [path.name for path in folder.parent.iterdir()] == ["version_0"]  # no new version


def check_predictions(path: Path, thresholds: list[float], exact_match: float) -> None:
    targets = read_digits(ARCHIVES, "test").targets
    rows = read_rows(path)
    assert list(rows[0]) == ["index", "true_tags", "predicted_tags", *LABELS]
    assert [row["index"] for row in rows] == [str(i) for i in range(10_000)]
    true_tags = ["|".join(label for label, value in zip(LABELS, row, strict=True) if value) for row in targets.tolist()]
    assert [row["true_tags"] for row in rows] == true_tags
    for row in rows[:500]:
        tags = [label for label, least in zip(LABELS, thresholds, strict=True) if float(row[label]) >= least]
        assert row["predicted_tags"] == "|".join(tags)
    right = sum(row["true_tags"] == row["predicted_tags"] for row in rows)
    assert right / len(rows) == pytest.approx(exact_match, abs=1e-6)


def test_a_softmax_model_is_tested(
    runs: dict[HeadName, Path], small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied_run(runs["softmax"], workplace)
    main(["test", *QUIET, "--figures", "false", "--data.data_dir", small_set])
    metrics = evaluated("test", "test", folder, capsys.readouterr().out)
    assert {path.name for path in (folder / "test").iterdir()} == {
        "MODEL_CARD.md",
        "metrics.json",
        "mistakes.csv",
        "outputs.npz",
        "report.md",
    }
    assert metrics["test_map"] > 0.8


def test_predict_draws_the_requested_images(checkpoint: str, small_set: str, workplace: Path) -> None:
    words = [*QUIET, "--ckpt_path", checkpoint, "--data.data_dir", small_set]
    heights = []
    for figure in ("9", "[0, 9, 299]"):
        main(["predict", *words, "--output", "some/where.csv", "--figure", figure])
        drawn = matplotlib.image.imread("some/where.png")
        assert drawn.std() > 0.1  # something is drawn
        heights.append(len(drawn))
    assert heights[1] > 2 * heights[0]
    main(["predict", *words, "--output", "else.csv", "--figure", "[]"])
    assert {path.name for path in workplace.rglob("*.*")} == {"where.csv", "where.png", "else.csv"}


def test_best_and_last_are_the_newest_runs(
    small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied_run(small_run, workplace)
    quiet = [*QUIET, "--figures", "false"]
    main(["test", *quiet, "--ckpt_path", "last"])
    assert "using runs/version_0/last.ckpt" in capsys.readouterr().out
    shutil.copytree("runs/version_0", "runs/version_1")
    main(["test", *quiet, "--ckpt_path", "best"])
    assert "using runs/version_1/best.ckpt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "metric", "best"),
    [
        ([], "val_map", max),
        (["--best_checkpoint.monitor", "val_loss"], "val_loss", min),
        (["--best_checkpoint.monitor", "val_label_accuracy_of_no_tags"], "val_label_accuracy_of_no_tags", max),
    ],
)
def test_best_is_the_last_of_the_best_epochs(
    words: list[str], metric: str, best: Callable[[list[float]], float], small_set: str, workplace: Path
) -> None:
    """The share of labels that no image has is the same in every epoch."""
    main(["fit", *QUIET, *BRIEF, *small(small_set), "--trainer.max_epochs", "4", "--model.lr", "0.01", *words])
    values = [float(row[metric]) for row in read_rows("runs/version_0/metrics.csv") if row[metric]]
    kept = load("runs/version_0/best.ckpt")["epoch"]
    assert values[kept] == best(values)
    assert values[kept] not in values[kept + 1 :]
    assert load("runs/version_0/last.ckpt")["epoch"] == 3


def test_a_run_says_by_what_its_end_is_much_better(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--best_checkpoint.monitor", "val_loss", "--trainer.max_epochs", "3"]
    main(["fit", *QUIET, *BRIEF, *small(small_set), *words, "--best_checkpoint.mode", "max"])  # the worst epoch
    [said] = [line for line in capsys.readouterr().err.splitlines() if "the last epoch does better" in line]
    rows = [row for row in read_rows("runs/version_0/metrics.csv") if row["val_map"]]
    maps = [float(row["val_map"]) for row in rows]
    assert load("runs/version_0/best.ckpt")["epoch"] == 0
    assert said.startswith("note: the last epoch does better than the best by val_loss: ")
    assert f"val_map {maps[-1]:.4f} against {maps[0]:.4f}" in said
    main(["fit", *QUIET, *BRIEF, *small(small_set), *words])
    assert "does better" not in capsys.readouterr().err


def test_a_run_may_be_resumed_by_another_metric(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose values can't be compared with those of the first."""
    main(["fit", *QUIET, *BRIEF, *small(small_set), "--best_checkpoint.monitor", "val_loss"])
    words = ["--ckpt_path", "last", "--trainer.max_epochs", "3", "--best_checkpoint.monitor", "val_exact_match"]
    main(["fit", *QUIET, *BRIEF, *small(small_set), *words])
    note = "note: best.ckpt was chosen by val_loss, and is chosen by val_exact_match from now on"
    assert note in capsys.readouterr().err.splitlines()
    rows = [row for row in read_rows("runs/version_0/metrics.csv") if row["val_exact_match"]]
    values = [float(row["val_exact_match"]) for row in rows]
    assert values[load("runs/version_0/best.ckpt")["epoch"]] == max(values[1:])


def test_the_tutorials_settings_are_the_defaults(run_folder: Path) -> None:
    checkpoint = load(run_folder / "last.ckpt")
    [optimizer] = checkpoint["optimizer_states"]
    [group] = optimizer["param_groups"]
    assert (group["lr"], group["eps"], group["betas"], group["weight_decay"]) == (1e-3, 1e-7, (0.9, 0.999), 0)
    assert checkpoint["datamodule_hyper_parameters"]["batch_size"] == 64


def test_ten_epochs_from_seed_0_are_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--print_config"])
    config = capsys.readouterr().out.splitlines()
    assert "  max_epochs: 10" in config
    assert "seed_everything: 0" in config


def test_thresholds_decide_the_tags_of_test_and_predict(small_set: str, workplace: Path) -> None:
    main(["fit", *QUIET, *BRIEF, *small(small_set), "--model.threshold", "0"])
    main(["test", *QUIET, "--figures", "false"])
    metrics = json.loads(Path("runs/version_0/test/metrics.json").read_text())
    assert metrics["test_label_accuracy"] == pytest.approx(1 - metrics["test_label_accuracy_of_no_tags"])
    main(["predict", *QUIET, "--figure", "[]"])
    rows = read_rows("runs/version_0/predict/predictions.csv")
    assert {row["predicted_tags"] for row in rows} == {"|".join(LABELS)}


def test_thresholds_are_learned_on_the_validation_images(run_folder: Path) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(run_folder / "best.ckpt")
    data = MNISTDataModule()
    data.setup("validate")
    assert data.val_set is not None
    with torch.no_grad():
        logits = torch.cat([model(images) for images in torch.split(data.val_set.images, 250)])
    learned = learn_thresholds(logits, data.val_set.targets, Rule("f1"))
    assert learned.found.all()
    assert torch.allclose(model.decision.thresholds, learned.thresholds, atol=1e-3)
    assert torch.equal(model.decision.positives, data.val_set.targets.sum(dim=0).long())


def test_a_label_whose_threshold_cannot_be_learned_keeps_half(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(workplace / "set", digits=[1] * 20)
    words = ["--data.data_dir", "set", "--data.val_size", "4", "--trainer.max_epochs", "2"]
    main(["fit", *QUIET, *words, "--model.threshold", "f1_exact"])
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    unknown = ", ".join(f"{label} (0)" for label in LABELS if label != "1")
    assert notes == [
        f"note: no threshold learned by f1_exact for {unknown}: using 0.5",
        "note: few positives to learn a threshold from: 1 (4)",
    ]
    thresholds = load("runs/version_0/best.ckpt")["state_dict"]["decision.thresholds"]
    assert [i for i, value in enumerate(thresholds.tolist()) if value != 0.5] == [1]


def test_without_validation_images_a_note_says_that_thresholds_stay(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", *QUIET, *BRIEF, "--data.data_dir", small_set, "--data.val_size", "0"]
    main(words)
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == ["note: no threshold learned by f1, as no validation ran: all stay as they are"]
    with pytest.raises(SystemExit) as caught:
        main([*words, "--ckpt_path", "last"])
    assert caught.value.code == 0
    assert capsys.readouterr().err == ""


def test_the_seed_decides_weights_and_order(small_set: str, workplace: Path) -> None:
    def weights(version: int, *words: str) -> torch.Tensor:
        main(["fit", *QUIET, *BRIEF, *small(small_set), *words])
        return torch.cat(
            [value.flatten() for value in load(f"runs/version_{version}/last.ckpt")["state_dict"].values()]
        )

    first, again, other = weights(0), weights(1), weights(2, "--seed_everything", "1")
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.slow  # compiling takes long
def test_options_of_training_run_together(small_set: str, workplace: Path) -> None:
    options = ["--model.lr_schedule", "one_cycle", "--model.weight_decay", "0.01", "--data.max_shift", "2"]
    words = [*options, "--data.max_rotation", "10", "--model.compile", "true", "--trainer.precision", "bf16-mixed"]
    main(["fit", *QUIET, *BRIEF, *small(small_set), *words])
    checkpoint = load("runs/version_0/last.ckpt")
    [group] = checkpoint["optimizer_states"][0]["param_groups"]
    assert group["weight_decay"] == 0.01
    assert group["max_lr"] == 1e-3
    [schedule] = checkpoint["lr_schedulers"]
    assert (schedule["total_steps"], schedule["last_epoch"]) == (3, 3)
    assert set(checkpoint["state_dict"]) == {
        *(f"network.{layer}.{kind}" for layer in ("conv", "hidden", "scores") for kind in ("weight", "bias")),
        *(f"decision.{name}" for name in ("slopes", "offsets", "thresholds", "positives")),
    }  # compiling renames nothing
    main(["test", *QUIET, "--figures", "false"])


def test_augmentation_changes_training_and_nothing_else(small_set: str, workplace: Path) -> None:
    def losses(version: int, *words: str) -> tuple[float, float]:
        main(["fit", *QUIET, *BRIEF, *small(small_set), "--model.lr", "1e-30", *words])
        rows = read_rows(f"runs/version_{version}/metrics.csv")
        return float(rows[0]["train_loss"]), float(rows[-1]["val_loss"])

    plain, augmented = losses(0), losses(1, "--data.max_shift", "3")
    assert plain[0] != augmented[0]
    assert plain[1] == augmented[1]


def test_fit_resumes_from_last(small_run: Path, workplace: Path) -> None:
    copied_run(small_run, workplace)
    main(["fit", *QUIET, *BRIEF, "--ckpt_path", "last", "--trainer.max_epochs", "3"])
    checkpoint = load("runs/version_0/last.ckpt")
    assert checkpoint["epoch"] == 2
    assert checkpoint["global_step"] == 9
    assert [folder.name for folder in Path("runs").iterdir()] == ["version_0"]
    epochs = [row["epoch"] for row in read_rows("runs/version_0/metrics.csv") if row["val_loss"]]
    assert epochs == ["0", "1", "2"]


def test_last_without_a_checkpoint_starts_from_scratch(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *QUIET, *BRIEF, *small(small_set), "--ckpt_path", "last"])
    captured = capsys.readouterr()
    assert "note: no checkpoint yet in runs: starting from scratch\n" in captured.err
    assert "trained: runs/version_0/best.ckpt" in captured.out


def test_a_run_whose_last_checkpoint_is_gone_is_not_started_over(
    small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied_run(small_run, workplace) / "last.ckpt").unlink()
    with pytest.raises(SystemExit) as caught:
        main(["fit", *QUIET, "--ckpt_path", "last"])
    assert caught.value.code == 2
    expected = "error: runs/version_0/last.ckpt does not exist: give another checkpoint to --ckpt_path\n"
    assert capsys.readouterr().err == expected


def test_without_validation_there_is_only_last(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *QUIET, "--data.data_dir", small_set, "--data.val_size", "0", *BRIEF])
    assert not Path("runs/version_0/best.ckpt").exists()
    assert "multilabel_pl test runs/version_0/last.ckpt" in capsys.readouterr().out
    main(["test", *QUIET, "--figures", "false"])
    assert "using runs/version_0/last.ckpt" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        main(["validate", *QUIET])
    assert caught.value.code == 2
    assert "error: there are no images to validate on: val_size is 0" in capsys.readouterr().err


def test_checkpointing_and_logging_can_be_switched_off(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--trainer.enable_checkpointing", "false", "--trainer.logger", "false"]
    main(["fit", *QUIET, *BRIEF, *small(small_set), *words])
    assert sorted(path.name for path in workplace.rglob("*.*")) == [".lock", "config.yaml"]
    assert "test it" not in capsys.readouterr().out


def test_a_checkpoints_values_win_with_a_note(
    checkpoint: str, small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*QUIET, "--ckpt_path", checkpoint, "--data.data_dir", small_set, "--output", "p.csv", "--figure", "[]"]
    main(["predict", *words, "--model.head", "softmax", "--model.lr", "0.5"])
    assert capsys.readouterr().err == (
        f"note: {checkpoint} keeps its own values, ignoring --model.head softmax (it has sigmoid), "
        "--model.lr 0.5 (it has 0.001)\n"
    )
    main(["predict", *words, "--model.head", "sigmoid"])
    assert capsys.readouterr().err == ""


def test_a_note_is_for_a_value_that_is_the_default_too(
    runs: dict[HeadName, Path], small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(runs["softmax"] / "best.ckpt")
    words = ["--ckpt_path", path, "--data.data_dir", small_set, "--output", "p.csv", "--figure", "[]"]
    main(["predict", *QUIET, *words, "--model.head", "sigmoid"])
    assert "ignoring --model.head sigmoid (it has softmax)" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("config", [path.stem for path in CONFIGS.iterdir()])
def test_configurations_run(config: str, small_set: str, workplace: Path) -> None:
    data = ["--data.table", write_tagged(workplace, 60)] if config == "table" else []
    data += [] if config in OWN_DATA else ["--data.data_dir", small_set]
    if config not in OWN_DATA and not config.startswith("keras"):
        data += ["--data.val_size", "100"]
    if config == "scenes":
        data += [f"--data.{split}_size={size}" for split, size in (("train", 200), ("val", 50), ("test", 50))]
    brief = [*QUIET, "--trainer.max_epochs", "2", "--trainer.limit_train_batches", "3"]
    main(["fit", "--config", str(CONFIGS / f"{config}.yaml"), *data, *brief])
    main(["test", *QUIET, "--figures", "false"])
    name = "last" if config.startswith("keras") else "best"
    model = MultiLabelClassifier.load_from_checkpoint(f"runs/version_0/{name}.ckpt")
    assert model.hparams["head"] == ("softmax" if config.endswith("softmax") else "sigmoid")
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS.get(config, 1_609_035)  # the tutorial's
    main(["fit", "--config", "runs/version_0/config.yaml", *QUIET, "--trainer.max_epochs", "1"])  # a run repeats itself
    assert Path(f"runs/version_1/{name}.ckpt").exists()


def test_a_bug_keeps_its_traceback(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ValueError that is not meant for the user is no InputError."""
    module = workplace / "broken_data.py"
    module.write_text(
        "from multilabel_pl import MNISTDataModule\n\n\n"
        "class BrokenDataModule(MNISTDataModule):\n"
        "    def setup(self, stage: str) -> None:\n"
        "        raise ValueError('a bug')\n"
    )
    monkeypatch.syspath_prepend(str(workplace))
    with pytest.raises(ValueError, match="a bug"):
        main(["fit", *QUIET, "--data", "broken_data.BrokenDataModule"])


def test_runs_land_in_the_folder_asked_for(small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--trainer.default_root_dir", "elsewhere/deep"]
    main(["fit", *QUIET, *BRIEF, *small(small_set), *place])
    main(["test", *QUIET, "--figures", "false", *place])
    assert "using elsewhere/deep/version_0/best.ckpt" in capsys.readouterr().out
    assert [path.name for path in workplace.iterdir()] == ["elsewhere"]


def printed(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns what a command prints that ends without doing anything."""
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_the_version_and_an_overview_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "multilabel_pl 0" in printed("--version", capsys)
    overview = printed("--help", capsys)
    assert [line.split()[0] for line in overview.split("commands:\n")[1].split("\n\n")[0].splitlines()] == list(
        COMMANDS
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_short_and_has_examples(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    lines = printed(f"{command} --help", capsys).splitlines()
    assert len(lines) <= 90
    assert all(len(line) <= 110 for line in lines)
    assert lines[4] == "examples:"
    assert lines[5].startswith(f"  {command}")
    options = [line.split()[0] for line in lines if line.startswith("  --")]
    assert options[0] == ("--model.head" if command == "fit" else "--config")
    assert ("--model.lr" in options) == (command == "fit")
    assert ("--data.val_size" in options) == (command in ("fit", "optimize"))
    assert "--trainer.enable_autolog_hparams" not in options


def test_all_options_are_behind_help_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--trainer.enable_autolog_hparams" in printed("fit --help-all", capsys)


def test_the_classes_of_data_and_their_options_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = printed("fit --data.help", capsys)
    assert [line.split()[0] for line in listed.splitlines()[1:6]] == [
        "MNISTDataModule",
        "TableDataModule",
        "SceneDataModule",
        "StreamingDataModule",
        "ImageFilesDataModule",
    ]
    assert "--data.tag_delimiter" in printed("fit --data.help TableDataModule", capsys)
    assert "--data.tag_delimiter" in printed("fit images.csv --help", capsys)


def test_a_table_is_trained_on_and_images_are_tagged_as_typed(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that YAML would read as something else, and lists of names, are taken as they are."""
    write_tagged(workplace, 40, name="my images.csv")
    main(["fit", "my images.csv", *QUIET, *BRIEF])
    assert "using the recipe table, which options and --config override" in capsys.readouterr().out
    options = load("runs/version_0/best.ckpt")["hyper_parameters"]
    assert (options["network"], options["lr_schedule"]) == ("conv_stack", "one_cycle")
    main(["test", "runs/version_0/last.ckpt", *QUIET, "--figures", "false"])
    assert "using runs/version_0/last.ckpt" in capsys.readouterr().out

    paths = sorted(Path("images").glob("*.png"))
    odd = [
        path.rename(path.with_name(name)) for path, name in zip(paths, ("null", "[x].png", "a: b.png"), strict=False)
    ]
    main(["predict", *map(str, odd[:2]), *QUIET, "images/a: *"])
    table = "runs/version_0/predict/predictions.csv"
    assert [row["path"] for row in read_rows(table)] == [str(path) for path in odd]
    Path("list.txt").write_text("\n".join(map(str, paths[3:6])))
    main(["predict", "--list", "list.txt", str(odd[0]), *QUIET])
    assert [row["path"] for row in read_rows(table)] == [str(path) for path in [odd[0], *paths[3:6]]]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{paths[6]}\n\n"))
    main(["predict", "--list", "-", *QUIET])
    assert [row["path"] for row in read_rows(table)] == [str(paths[6])]


def test_a_checkpoint_knows_its_data(small_run: Path, workplace: Path) -> None:
    """A model is evaluated on the data that it was trained on, unless others are asked for."""
    copied_run(small_run, workplace)
    words = ["predict", *QUIET, "--figure", "[]"]
    main(words)
    path = Path("runs/version_0/predict/predictions.csv")
    assert len(read_rows(path)) == 300
    write_set(workplace / "set", digits=[1, 8] * 10)
    main([*words, "--data.data_dir", "set"])
    assert len(read_rows(path)) == 20


def test_a_relative_data_folder_is_found_from_another_folder(workplace: Path) -> None:
    write_set(workplace / "set", digits=[1, 8] * 10)
    main(["fit", *QUIET, *BRIEF, "--data.data_dir", "set", "--data.val_size", "4"])
    (workplace / "deeper").mkdir()
    with chdir("deeper"):
        main(["predict", *QUIET, "--figure", "[]", "--ckpt_path", "../runs/version_0/best.ckpt"])
    assert len(read_rows("runs/version_0/predict/predictions.csv")) == 20


def test_a_small_set_without_some_labels_can_be_perfect(workplace: Path) -> None:
    write_set(workplace / "set", digits=[1] * 20)
    words = ["--data.data_dir", "set", "--data.val_size", "4", "--data.batch_size", "2", "--trainer.max_epochs", "8"]
    main(["fit", *QUIET, *words, "--model.threshold", "f1_exact"])
    main(["test", *QUIET, "--figures", "false"])
    metrics = json.loads(Path("runs/version_0/test/metrics.json").read_text())
    assert metrics["test_exact_match"] == metrics["test_f1_macro"] == metrics["test_map"] == 1
    assert metrics["test_auroc"] is None  # it needs negatives


USES = {
    "test": ["test", "--figures", "false"],
    "predict": ["predict", "--figure", "[]"],
    "tune": ["tune", "--figures", "false", "--output", "tuned.ckpt"],
    "export": ["export", "--output", "model.pt2"],
    "fit": ["fit", *BRIEF, "--trainer.max_epochs", "3", "--ckpt_path", "last"],
}


@pytest.mark.parametrize("command", USES)
def test_a_command_reads_its_checkpoint_once_and_builds_one_network(
    command: str, small_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied_run(small_run, workplace)
    read, built = [], []
    load, build = torch.load, torch.nn.Conv2d.__init__

    def counting_load(path: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(path, str | Path):  # torch.export loads from memory
            read.append(str(path))
        return load(path, *args, **kwargs)

    def counting_build(layer: torch.nn.Conv2d, *args: Any, **kwargs: Any) -> None:
        built.append(layer)
        build(layer, *args, **kwargs)

    monkeypatch.setattr(torch, "load", counting_load)
    monkeypatch.setattr(torch.nn.Conv2d, "__init__", counting_build)
    main([*USES[command], *QUIET])
    assert read == [f"runs/version_0/{'last' if command == 'fit' else 'best'}.ckpt"]
    assert len(built) == 1  # the tutorial's network has one convolution


@pytest.mark.slow  # two processes, which compete for the cores
def test_two_runs_at_once_get_a_folder_each(small_set: str, tmp_path: Path) -> None:
    words = ["fit", *QUIET, *BRIEF, *small(small_set), "--model.head"]
    processes = [started([*words, head], cwd=tmp_path) for head in ("sigmoid", "softmax")]
    assert [process.wait() for process in processes] == [0, 0]
    heads = {load(path)["hyper_parameters"]["head"] for path in tmp_path.glob("runs/version_[01]/best.ckpt")}
    assert heads == {"sigmoid", "softmax"}
