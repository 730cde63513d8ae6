"""Callbacks of Lightning's and loggers of Weights & Biases and MLflow, from the command line."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from mlflow import MlflowClient
from mlflow.entities import Run

from benchmarks.crash import differences
from multilabel_pl.cli.main import main
from tests.conftest import BRIEF, QUIET, copied_run, small
from tests.test_schema import Place, changed, check_refused

MLFLOW = ["--trainer.logger", "MLFlowLogger", "--trainer.logger.tracking_uri"]
WANDB = ["--trainer.logger", "WandbLogger", "--trainer.logger.offline", "true"]
SWA = ["StochasticWeightAveraging", "--trainer.callbacks.swa_lrs", "0.001", "--trainer.callbacks.swa_epoch_start", "1"]
SWA_STATE = ("callbacks", "StochasticWeightAveraging")
EMA = ["EMAWeightAveraging", "--trainer.callbacks.decay", "0.5"]
FINDER = ["LearningRateFinder", "--trainer.callbacks.num_training_steps", "20"]
STRUCK = [  # in the second epoch
    *("--trainer.callbacks+=tests.callbacks.Strike", "--trainer.callbacks.name=SIGTERM"),
    *("--trainer.callbacks.moment=on_train_batch_end", "--trainer.callbacks.step=5"),
]


def fit(small_set: str, *words: str, callback: list[str] | None = None) -> None:
    callbacks = ["--trainer.callbacks", *callback] if callback else []
    main(["fit", *QUIET, *BRIEF, *small(small_set), *callbacks, *words])


def content_of(path: str) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(f"runs/{path}.ckpt", weights_only=True)
    return content


def rows(run: str) -> list[dict[str, str]]:
    with Path(f"runs/{run}/metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def tracked(small_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a run, in which all that trackers write lands."""
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(workplace / "wandb_home"))
    monkeypatch.setenv("WANDB_CONSOLE", "off")  # pytest has the output already
    monkeypatch.setenv("NETRC", str(workplace / "none"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")  # by threads that would stay
    copied_run(small_run, workplace)
    yield workplace
    wandb.teardown()


def mlflow_run(uri: str) -> tuple[MlflowClient, Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("lightning_logs")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    return client, run


def staged() -> set[bytes]:
    """Returns the contents of the files of W&B's artifacts."""
    return {path.read_bytes() for path in Path("wandb_home/artifacts/staging").iterdir()}


@pytest.mark.slow
def test_mlflow_gets_the_curves_the_options_and_the_best_checkpoint(small_set: str, tracked: Path) -> None:
    uri = f"sqlite:///{tracked}/mlflow.db"
    fit(small_set, *MLFLOW, uri, "--trainer.logger.log_model", "true")
    client, run = mlflow_run(uri)
    assert run.data.metrics["val_map"] == pytest.approx(float(rows("version_1")[-1]["val_map"]))
    assert run.data.params["optimizer"] == "AdamW"
    paths = {file.path for folder in ("fit", "best") for file in client.list_artifacts(run.info.run_id, folder)}
    assert paths >= {"fit/config.yaml", "fit/metrics.csv", "best/best.ckpt"}
    assert not list(Path("runs/version_1").glob("events*"))  # TensorBoard's, which was not asked for


@pytest.mark.slow
def test_mlflow_gets_the_report(tracked: Path) -> None:
    uri = f"sqlite:///{tracked}/mlflow.db"
    main(["test", *QUIET, *MLFLOW, uri, "--trainer.limit_test_batches", "1", "--figures", "false"])
    client, run = mlflow_run(uri)
    found = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "test")}
    assert found == {"report.md", "metrics.json", "mistakes.csv", "outputs.npz", "MODEL_CARD.md"}
    assert "test_map" in run.data.metrics


@pytest.mark.slow
def test_wandb_gets_the_report_and_the_figures(tracked: Path) -> None:
    main(["test", *QUIET, *WANDB, "--trainer.limit_test_batches", "1"])
    wandb.finish()
    results = list(Path("runs/version_0/test").iterdir())
    [folder] = Path("wandb").glob("offline-run-*/files/media/images/test")
    assert {path.name.rsplit("_", 2)[0] for path in folder.iterdir()} == {p.stem for p in results if p.suffix == ".png"}
    assert {path.read_bytes() for path in results} <= staged()


@pytest.mark.slow
def test_wandb_gets_the_curves_and_the_options(small_set: str, tracked: Path) -> None:
    fit(small_set, *WANDB)
    wandb.finish()
    assert list(Path("wandb").glob("offline-run-*/*.wandb"))
    assert {Path(f"runs/version_1/{name}").read_bytes() for name in ("config.yaml", "metrics.csv")} <= staged()


def test_a_callback_may_have_options_below_0(small_set: str, workplace: Path) -> None:
    fit(small_set, callback=["ModelSummary", "--trainer.callbacks.max_depth", "-1"])


@pytest.mark.parametrize(
    ("logger", "message"),
    [
        ("MLFlowLogger", "error: The filesystem tracking backend "),
        ("WandbLogger", "error: No API key configured. Use "),
    ],
)
def test_a_missing_login_and_a_refused_store_are_a_line(
    logger: str, message: str, tracked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("MLFLOW_ALLOW_FILE_STORE", "WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as caught:
        main(["test", *QUIET, "--trainer.logger", logger])
    assert caught.value.code == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("wandb: ")]
    assert line.startswith(message)


def test_early_stopping_ends_a_run(small_set: str, workplace: Path) -> None:
    stopping = ["EarlyStopping", "--trainer.callbacks.monitor", "val_loss", "--trainer.callbacks.patience", "1"]
    fit(small_set, "--model.lr", "1e-30", "--trainer.max_epochs", "9", callback=stopping)
    assert content_of("version_0/last")["epoch"] == 1


@pytest.mark.slow
def test_averaged_weights_are_validated_saved_and_resumed_exactly(small_set: str, workplace: Path) -> None:
    fit(small_set, "--trainer.max_epochs", "2", callback=EMA)
    with pytest.raises(SystemExit):
        fit(small_set, "--trainer.max_epochs", "2", *STRUCK, callback=EMA)
    main(["fit", "last", "--trainer.callbacks", *EMA])
    for name in ("best", "last"):
        whole, resumed = (content_of(f"version_{i}/{name}") for i in range(2))
        for part in ("state_dict", "current_model_state", "optimizer_states"):
            assert differences(whole[part], resumed[part]) == [], part
    best = content_of("version_0/best")
    assert differences(best["state_dict"], best["current_model_state"]) != []
    main(["validate", *QUIET, "--ckpt_path", "runs/version_0/best.ckpt", "--figures", "false"])
    validated = json.loads(Path("runs/version_0/validate/metrics.json").read_text(encoding="utf-8"))
    [row] = [row for row in rows("version_0") if row["val_map"] and int(row["epoch"]) + 1 == best["epoch"] + 1]
    for metric in ("val_map", "val_exact_match"):  # of the averaged weights, with thresholds learned for them
        assert validated[metric] == pytest.approx(float(row[metric]), abs=1e-6)


@pytest.mark.slow
def test_stochastic_averages_are_in_the_last_checkpoint(small_set: str, workplace: Path) -> None:
    fit(small_set, "--trainer.max_epochs", "3", callback=SWA)
    best, last = content_of("version_0/best"), content_of("version_0/last")
    assert best["epoch"] == last["epoch"] - 1 == 2
    averages = last["callbacks"]["StochasticWeightAveraging"]["average_model_state"]
    weights = {name: value for name, value in last["state_dict"].items() if name.startswith("network.")}
    assert differences(weights, {name: averages[name] for name in weights}) == []
    assert differences(weights, {name: best["state_dict"][name] for name in weights}) != []
    with pytest.raises(SystemExit):
        fit(small_set, "--trainer.max_epochs", "3", *STRUCK, callback=SWA)
    main(["fit", "last", "--trainer.callbacks", *SWA])  # whose device is in config.yaml
    assert differences(last["state_dict"], content_of("version_1/last")["state_dict"]) == []


OF_EMA: list[tuple[Place, Any, str]] = [
    (("current_model_state",), "x", "current_model_state must be a dictionary, got 'x'"),
    (("current_model_state", "network.scores.bias"), torch.zeros(3), "must be a dense tensor of floats, 11"),
    (("averaging_state", "n_averaged"), 3, "averaging_state.n_averaged must be a dense tensor of whole"),
]
OF_SWA: list[tuple[Place, Any, str]] = [
    ((*SWA_STATE, "average_model_state", "network.scores.bias"), "x", "must be a dense tensor of floats, 11"),
    ((*SWA_STATE, "scheduler_state"), "x", "scheduler_state must be None or a dictionary, got 'x'"),
    ((*SWA_STATE, "n_averaged"), -3, "n_averaged must be a whole number of at least 0"),
]


@pytest.mark.parametrize(("callback", "changes"), [(EMA, OF_EMA), (SWA, OF_SWA)], ids=["EMA", "SWA"])
def test_averages_that_no_run_has_are_refused(
    callback: list[str],
    changes: list[tuple[Place, Any, str]],
    small_set: str,
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fit(small_set, "--trainer.max_epochs", "2", callback=callback)
    words = ["fit", *QUIET, *BRIEF, *small(small_set), "--trainer.callbacks", *callback, "--trainer.max_epochs", "3"]
    for place, value, message in changes:
        changed(Path("runs/version_0"), place, value)
        check_refused([*words, "--ckpt_path", "x.ckpt"], message, capsys)


def test_a_found_rate_is_used_recorded_and_kept(small_set: str, workplace: Path) -> None:
    fit(small_set, "--trainer.limit_train_batches", "20", "--data.batch_size", "16", callback=FINDER)
    rate = content_of("version_0/last")["hyper_parameters"]["lr"]
    assert rate != 1e-3
    main(["fit", "last", "--trainer.max_epochs", "2"])
    content = content_of("version_0/last")
    assert content["hyper_parameters"]["lr"] == content["optimizer_states"][0]["param_groups"][0]["lr"] == rate


def test_a_rate_is_not_looked_for_where_it_would_not_be_used(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        fit(small_set, "--model.lr_schedule", "one_cycle", callback=FINDER)
    assert caught.value.code == 2
    assert "error: LearningRateFinder can't set the rate of one_cycle" in capsys.readouterr().err


def test_rates_and_layers_are_shown(small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = ["--trainer.callbacks+=ModelSummary", "--trainer.callbacks.max_depth=2"]
    shown = ["--trainer.enable_model_summary", "true"]
    fit(small_set, *summary, *shown, "--model.optimizer", "SGD", callback=["LearningRateMonitor"])
    assert "network.scores" in capsys.readouterr().out
    assert [float(row["lr-SGD"]) for row in rows("version_0") if row["lr-SGD"]] == [1e-3] * 3
    main(["test", *QUIET])
    assert Path("runs/version_0/test/training.png").is_file()


def test_gradients_are_accumulated_by_a_plan(small_set: str, workplace: Path) -> None:
    fit(small_set, callback=["GradientAccumulationScheduler", "--trainer.callbacks.scheduling", "{0: 3}"])
    assert content_of("version_0/last")["global_step"] == 1
