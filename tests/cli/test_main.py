import csv
import json
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import matplotlib.image
import pytest
import torch

from multilabel_pl import MNISTDataModule, MultiLabelClassifier
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, LABELS, digit_targets, read_digits
from multilabel_pl.model.head import HeadName
from multilabel_pl.model.thresholds import Rule, learn_thresholds
from tests.conftest import BRIEF, QUIET
from tests.data.pictures import write_tagged
from tests.data.test_mnist import write_set

AVERAGES = [f"{name}_{average}" for average in ("macro", "micro", "samples") for name in ("precision", "recall", "f1")]
DECISIONS = ["label_accuracy", "exact_match", *AVERAGES]
RANKINGS = ["map", "auroc", "ranking_loss", "calibration_error", "label_accuracy_of_no_tags"]
METRICS = ["loss", *DECISIONS, *(f"{name}_at_half" for name in DECISIONS), *RANKINGS]
CONFIGS = Path(__file__).parents[2] / "configs"
PARAMETERS = {"keras_sigmoid": 68_523, "keras_softmax": 68_523, "scenes": 61_051, "table": 61_339}


def fail(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Runs a command that must fail as a user's mistake does, and returns its one line on standard error."""
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def copied_run(run_folder: Path, place: Path) -> Path:
    """Copies what the evaluating commands read of a run to where they may write beside it."""
    folder = place / "runs" / "version_0"
    folder.mkdir(parents=True)
    for name in ("best.ckpt", "last.ckpt", "metrics.csv"):
        (folder / name).write_bytes((run_folder / name).read_bytes())
    return folder


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_fit_leaves_a_run_with_all_that_belongs_to_it(runs: dict[HeadName, Path], head: HeadName) -> None:
    folder = runs[head]
    names = sorted(path.name.split(".")[0] for path in folder.iterdir())
    assert names == ["best", "config", "events", "hparams", "last", "metrics"]
    assert [path.name for path in folder.parent.parent.iterdir()] == ["runs"]  # nothing stray
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len([row for row in rows if row["train_loss"]]) == 4  # every 50 of 200 steps
    epochs = [row for row in rows if row["val_loss"]]
    assert len(epochs) == 2
    assert all(f"val_{name}" in epochs[0] for name in METRICS)
    checkpoint = torch.load(folder / "best.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["labels"] == LABELS
    assert checkpoint["hyper_parameters"]["head"] == head


def test_fit_says_where_the_checkpoint_is_and_how_to_test_it(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *QUIET, *BRIEF])
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "trained: runs/version_0/best.ckpt",
        "test it: python -m multilabel_pl test --ckpt_path runs/version_0/best.ckpt",
    ]


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_the_main_job(
    runs: dict[HeadName, Path], head: HeadName, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Validate, test and predict in a process that did not train, with nothing but the run folder."""
    folder = copied_run(runs[head], workplace)
    for command, prefix in (("validate", "val"), ("test", "test")):
        main([command, *QUIET])
        out = capsys.readouterr().out
        assert f"using {folder.relative_to(workplace)}/best.ckpt" in out
        metrics = json.loads((folder / command / "metrics.json").read_text())
        assert list(metrics) == [f"{prefix}_{name}" for name in METRICS]
        for name, value in metrics.items():
            assert f"{value:.4f}" in out
            assert name.removeprefix(f"{prefix}_").removesuffix("_at_half") in out or "no tag at all" in out
        report = (folder / command / "report.md").read_text()
        assert "\n| ≥5 " in report
        for name in ("precision_recall", "confusion", "reliability", "mistakes", "training"):
            assert f"({name}.png)" in report
            assert matplotlib.image.imread(folder / command / f"{name}.png").std() > 0.1  # something is drawn
    assert metrics["test_label_accuracy_of_no_tags"] == pytest.approx(0.8649, abs=1e-6)
    if head == "sigmoid":
        assert metrics["test_exact_match"] > 0.7
    assert metrics["test_map"] > 0.8

    main(["predict", *QUIET])
    thresholds = torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]["thresholds"].tolist()
    check_predictions(folder / "predict" / "predictions.csv", thresholds, metrics["test_exact_match"])
    assert [path.name for path in folder.parent.iterdir()] == ["version_0"]  # no new version


def check_predictions(path: Path, thresholds: list[float], exact_match: float) -> None:
    targets = read_digits(ARCHIVES, "test").targets
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["index", "true_tags", "predicted_tags", *LABELS]
    assert [row[0] for row in rows] == [str(i) for i in range(10_000)]
    known = torch.stack([digit_targets(torch.tensor([int(row[1].split("|")[0])]))[0] for row in rows])
    assert torch.equal(known, targets)
    for _, _, predicted, *probabilities in rows[:500]:
        chances = map(float, probabilities)
        tags = [label for label, p, cut in zip(LABELS, chances, thresholds, strict=True) if p >= cut]
        assert predicted == "|".join(tags)
    assert sum(row[1] == row[2] for row in rows) / len(rows) == pytest.approx(exact_match, abs=1e-6)


def test_predict_draws_the_images_asked_for(checkpoint: str, workplace: Path) -> None:
    heights = []
    for figure in ("9", "[0, 9, 9999]"):
        main(["predict", *QUIET, "--ckpt_path", checkpoint, "--output", "some/where.csv", "--figure", figure])
        picture = matplotlib.image.imread("some/where.png")
        assert picture.std() > 0.1  # something is drawn
        heights.append(len(picture))
    assert heights[1] > 2 * heights[0]
    main(["predict", *QUIET, "--ckpt_path", checkpoint, "--output", "else.csv", "--figure", "[]"])
    assert {path.name for path in workplace.rglob("*.*")} == {"where.csv", "where.png", "else.csv"}


def test_best_and_last_are_the_newest_runs(
    run_folder: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied_run(run_folder, workplace)
    main(["test", *QUIET, "--ckpt_path", "last"])
    assert "using runs/version_0/last.ckpt" in capsys.readouterr().out
    main(["fit", *QUIET, *BRIEF])
    main(["test", *QUIET, "--ckpt_path", "best"])
    assert "using runs/version_1/best.ckpt" in capsys.readouterr().out


def test_best_is_the_epoch_with_the_lowest_validation_loss(run_folder: Path) -> None:
    with (run_folder / "metrics.csv").open() as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file) if row["val_loss"]]
    assert torch.load(run_folder / "best.ckpt", weights_only=True)["epoch"] == losses.index(min(losses))


def test_last_is_the_last_epoch_even_if_best_is_not(workplace: Path) -> None:
    """A monitored value that never changes leaves best.ckpt at the first epoch; last.ckpt must go on."""
    words = ["--trainer.max_epochs", "3", "--best_checkpoint.monitor", "val_label_accuracy_of_no_tags"]
    main(["fit", *QUIET, *BRIEF, *words])
    best, last = (torch.load(f"runs/version_0/{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert (best["epoch"], last["epoch"]) == (0, 2)


def test_the_tutorials_settings_are_the_defaults(run_folder: Path) -> None:
    checkpoint = torch.load(run_folder / "last.ckpt", weights_only=True)
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


def test_thresholds_decide_the_tags_of_test_and_predict(workplace: Path) -> None:
    main(["fit", *QUIET, *BRIEF, "--model.threshold", "0"])
    main(["test", *QUIET])
    metrics = json.loads(Path("runs/version_0/test/metrics.json").read_text())
    assert metrics["test_label_accuracy"] == pytest.approx(1 - metrics["test_label_accuracy_of_no_tags"])
    main(["predict", *QUIET, "--figure", "[]"])
    with Path("runs/version_0/predict/predictions.csv").open(encoding="utf-8") as file:
        assert {row["predicted_tags"] for row in csv.DictReader(file)} == {"|".join(LABELS)}


def test_thresholds_are_learned_on_the_validation_images(workplace: Path, run_folder: Path) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(run_folder / "best.ckpt")
    data = MNISTDataModule()
    data.setup("validate")
    assert data.val_set is not None
    with torch.no_grad():
        probabilities = torch.cat([model(images) for images in torch.split(data.val_set.images, 250)]).sigmoid()
    expected, learned = learn_thresholds(probabilities, data.val_set.targets, Rule("f1"))
    assert learned.all()
    assert torch.allclose(model.thresholds, expected, atol=1e-4)


def test_another_split_is_noted(checkpoint: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["validate", *QUIET, "--ckpt_path", checkpoint, "--figures", "false", "--data.val_size", "6000"]
    main([*words, "--output", "new.ckpt"])
    note = f"note: {checkpoint} was trained with --data.val_size 5000: it may know these images"
    assert note in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("threshold", ["recall>=0.99", "0.25"])
def test_thresholds_are_set_anew_without_training(workplace: Path, run_folder: Path, threshold: str) -> None:
    copied_run(run_folder, workplace)
    before = Path("runs/version_0/best.ckpt").read_bytes()
    main(["validate", *QUIET, "--model.threshold", threshold, "--output", "new/model.ckpt"])
    assert Path("runs/version_0/best.ckpt").read_bytes() == before
    metrics = json.loads(Path("new/validate/metrics.json").read_text())
    old = MultiLabelClassifier.load_from_checkpoint("runs/version_0/best.ckpt")
    new = MultiLabelClassifier.load_from_checkpoint("new/model.ckpt")
    assert torch.equal(new.network.state_dict()["hidden.weight"], old.network.state_dict()["hidden.weight"])
    if threshold == "0.25":
        assert new.thresholds.tolist() == [0.25] * 11
    else:
        assert 0.99 <= metrics["val_recall_macro"] < 0.995
        assert new.hparams["threshold"] == threshold
    main(["validate", *QUIET, "--ckpt_path", "new/model.ckpt"])
    assert json.loads(Path("new/validate/metrics.json").read_text()) == metrics


def test_a_label_whose_threshold_cannot_be_learned_keeps_half(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(workplace / "set", digits=[1] * 20)
    main(["fit", *QUIET, "--data.data_dir", "set", "--data.val_size", "4", "--trainer.max_epochs", "2"])
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == ["note: f1 sets no threshold for 0, 2, 3, 4, 5, 6, 7, 8, 9, ≥5: 0.5 stays"]
    thresholds = torch.load("runs/version_0/best.ckpt", weights_only=True)["state_dict"]["thresholds"]
    assert [i for i, value in enumerate(thresholds.tolist()) if value != 0.5] == [1]


def test_without_validation_images_a_note_says_that_thresholds_stay(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "note: f1 sets no threshold without validation images: all stay as they are"
    main(["fit", *QUIET, *BRIEF, "--data.val_size", "0"])
    assert note in capsys.readouterr().err.splitlines()
    main(["fit", *QUIET, *BRIEF, "--ckpt_path", "last"])
    assert "note:" not in capsys.readouterr().err  # there was nothing left to do


def test_the_seed_decides_weights_and_order(workplace: Path) -> None:
    def weights(version: int, *words: str) -> torch.Tensor:
        main(["fit", *QUIET, *BRIEF, *words])
        state = torch.load(f"runs/version_{version}/last.ckpt", weights_only=True)["state_dict"]
        return torch.cat([value.flatten() for value in state.values()])

    first, again, other = weights(0), weights(1), weights(2, "--seed_everything", "1")
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.slow  # compiling is
def test_options_of_training_run_together(workplace: Path) -> None:
    options = ["--model.lr_schedule", "one_cycle", "--model.weight_decay", "0.01", "--data.max_shift", "2"]
    words = [*options, "--data.max_rotation", "10", "--model.compile", "true", "--trainer.precision", "bf16-mixed"]
    main(["fit", *QUIET, *BRIEF, *words])
    checkpoint = torch.load("runs/version_0/last.ckpt", weights_only=True)
    [group] = checkpoint["optimizer_states"][0]["param_groups"]
    assert group["weight_decay"] == 0.01
    assert group["max_lr"] == 1e-3
    [schedule] = checkpoint["lr_schedulers"]
    assert (schedule["total_steps"], schedule["last_epoch"]) == (3, 3)
    assert set(checkpoint["state_dict"]) == {
        *(f"network.{layer}.{kind}" for layer in ("conv", "hidden", "scores") for kind in ("weight", "bias")),
        "temperatures",
        "thresholds",
    }  # compiling renames nothing
    main(["test", *QUIET])


def test_augmentation_changes_training_and_nothing_else(workplace: Path) -> None:
    def loss(version: int, *words: str) -> tuple[float, float]:
        main(["fit", *QUIET, *BRIEF, "--model.lr", "1e-30", *words])
        with Path(f"runs/version_{version}/metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        return float(rows[0]["train_loss"]), float(rows[-1]["val_loss"])

    plain, augmented = loss(0), loss(1, "--data.max_shift", "3")
    assert plain[0] != augmented[0]
    assert plain[1] == augmented[1]


def test_a_run_that_is_at_its_end_says_so(
    run_folder: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied_run(run_folder, workplace)
    main(["fit", *QUIET, "--ckpt_path", "last", "--trainer.max_epochs", "2"])
    assert "nothing was trained" in capsys.readouterr().out


def test_fit_resumes_from_last(run_folder: Path, workplace: Path) -> None:
    copied_run(run_folder, workplace)
    main(["fit", *QUIET, "--ckpt_path", "last", "--trainer.max_epochs", "3", "--trainer.limit_train_batches", "100"])
    checkpoint = torch.load("runs/version_0/last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 2
    assert checkpoint["global_step"] == 300
    assert [folder.name for folder in Path("runs").iterdir()] == ["version_0"]
    with Path("runs/version_0/metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file) if row["val_loss"]] == ["0", "1", "2"]


def test_no_validation_leaves_last_alone(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", *QUIET, "--data.val_size", "0", *BRIEF])
    assert not Path("runs/version_0/best.ckpt").exists()
    assert "multilabel_pl test --ckpt_path runs/version_0/last.ckpt" in capsys.readouterr().out
    main(["test", *QUIET])
    assert "using runs/version_0/last.ckpt" in capsys.readouterr().out
    assert "val_size is 0" in fail(capsys, "validate", *QUIET)  # not 5,000 of the images that it was trained on


def test_checkpointing_and_logging_can_be_switched_off(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--trainer.enable_checkpointing", "false", "--trainer.logger", "false"]
    main(["fit", *QUIET, *BRIEF, *words])
    assert not list(workplace.rglob("*.ckpt"))
    assert "test it" not in capsys.readouterr().out


def test_a_checkpoints_values_win_with_a_notice(
    checkpoint: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*QUIET, "--ckpt_path", checkpoint, "--output", "p.csv", "--figure", "[]"]
    main(["predict", *words, "--model.head", "softmax", "--model.lr", "0.5"])
    assert capsys.readouterr().err == (
        f"note: {checkpoint} keeps its own values, ignoring --model.head softmax (it has sigmoid), "
        "--model.lr 0.5 (it has 0.001)\n"
    )
    main(["predict", *words, "--model.head", "sigmoid"])
    assert capsys.readouterr().err == ""


def test_a_value_that_is_the_default_is_noticed_too(
    runs: dict[HeadName, Path], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--ckpt_path", str(runs["softmax"] / "best.ckpt"), "--output", "p.csv", "--figure", "[]"]
    main(["predict", *QUIET, *words, "--model.head", "sigmoid"])
    assert "ignoring --model.head sigmoid (it has softmax)" in capsys.readouterr().err


@pytest.mark.parametrize("config", [path.stem for path in CONFIGS.iterdir()])
def test_configs_run(config: str, workplace: Path) -> None:
    table = ["--data.table", write_tagged(workplace, 60)] if config == "table" else []
    limits = [word for stage in ("train", "val") for word in (f"--trainer.limit_{stage}_batches", "10")]
    brief = [*QUIET, "--trainer.max_epochs", "2", *limits]
    main(["fit", "--config", str(CONFIGS / f"{config}.yaml"), *table, *brief])
    main(["test", *QUIET, "--trainer.limit_test_batches", "10"])
    name = "last" if config.startswith("keras") else "best"
    model = MultiLabelClassifier.load_from_checkpoint(f"runs/version_0/{name}.ckpt")
    assert model.hparams["head"] == ("softmax" if config.endswith("softmax") else "sigmoid")
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS.get(config, 1_609_035)  # the tutorial's
    main(["fit", "--config", "runs/version_0/config.yaml", *QUIET, "--trainer.max_epochs", "1"])  # a run repeats itself
    assert Path(f"runs/version_1/{name}.ckpt").exists()


def run_alone(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "multilabel_pl", *words]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


def test_a_bug_keeps_its_traceback(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ValueError that nobody meant for the user is no InputError."""
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


def test_runs_go_where_they_are_told(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--trainer.default_root_dir", "elsewhere/deep"]
    main(["fit", *QUIET, *BRIEF, *place])
    main(["test", *QUIET, *place])
    assert "using elsewhere/deep/version_0/best.ckpt" in capsys.readouterr().out
    assert [path.name for path in workplace.iterdir()] == ["elsewhere"]


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in ((["--version"], "multilabel_pl 0"), (["fit", "--help"], "--model.head {sigmoid,softmax}")):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
        assert expected in capsys.readouterr().out


def test_a_checkpoint_knows_its_data(workplace: Path) -> None:
    """Evaluating takes the data that the model was trained on, unless told otherwise."""
    write_set(workplace / "set", digits=[1, 8] * 10)
    main(["fit", *QUIET, *BRIEF, "--data.data_dir", "set", "--data.val_size", "4"])
    main(["predict", *QUIET])
    path = Path("runs/version_0/predict/predictions.csv")
    assert len(path.read_text().splitlines()) == 21
    (workplace / "deeper").mkdir()
    with chdir("deeper"):
        main(["predict", *QUIET, "--ckpt_path", "../runs/version_0/best.ckpt"])
    main(["predict", *QUIET, "--data.data_dir", str(ARCHIVES)])
    assert len(path.read_text().splitlines()) == 10_001


def test_a_small_set_without_some_labels_can_be_perfect(workplace: Path) -> None:
    write_set(workplace / "set", digits=[1] * 20)
    main(["fit", *QUIET, "--data.data_dir", "set", "--data.val_size", "4", "--trainer.max_epochs", "30"])
    main(["test", *QUIET])
    metrics = json.loads(Path("runs/version_0/test/metrics.json").read_text())
    assert metrics["test_exact_match"] == metrics["test_f1_macro"] == metrics["test_map"] == 1
    assert metrics["test_auroc"] is None  # it needs negatives


def test_two_runs_at_once_get_a_folder_each(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "multilabel_pl", "fit", *QUIET, *BRIEF]
    processes = [subprocess.Popen([*words, "--model.head", head], cwd=tmp_path) for head in ("sigmoid", "softmax")]
    assert [process.wait() for process in processes] == [0, 0]
    heads = {
        torch.load(path, weights_only=True)["hyper_parameters"]["head"]
        for path in tmp_path.glob("runs/version_[01]/best.ckpt")
    }
    assert heads == {"sigmoid", "softmax"}
