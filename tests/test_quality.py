"""What the benchmark of the time to quality makes of checkpoints and their times."""

import math
from pathlib import Path

import pytest

from benchmarks.quality import Checkpoint, Training, contenders, measure, row, spread
from benchmarks.speed import parser

GOOD, BAD = {"label accuracy": 0.9956, "exact match": 0.98}, {"label accuracy": 0.9954, "exact match": 0.97}


def test_the_first_checkpoint_that_reaches_a_level_counts() -> None:
    training = Training([Checkpoint(10, BAD), Checkpoint(20, GOOD), Checkpoint(30, BAD), Checkpoint(40, GOOD)])
    assert training.seconds_to("label accuracy") == 20
    assert training.seconds_to("exact match") == math.inf


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ([12.0, 11.0, 13.5], "12.0 (11.0 to 13.5)"),
        ([12.0, math.inf, 11.0], "12.0 (11.0 to –)"),
        ([math.inf, math.inf, 11.0], "– (11.0 to –)"),
        ([math.inf] * 3, "–"),
    ],
)
def test_a_seed_that_does_not_reach_a_level_takes_for_ever(seconds: list[float], text: str) -> None:
    assert spread(seconds) == text


def test_a_row_has_times_and_means_at_the_end() -> None:
    trainings = [Training([Checkpoint(10, end)], "Keras 3.0") for end in (GOOD, BAD, GOOD)]
    times = ["10.0 (10.0 to –)", "–", "10.0 (10.0 to 10.0)"]
    assert row("Keras", trainings) == ["Keras", *times, "0.9955", "0.9767"]
    assert row("Keras", trainings, ["exact match"]) == ["Keras", *times[1:], "0.9955", "0.9767"]


def test_what_was_measured_is_not_measured_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done: list[int] = []

    def program(folder: Path, seed: int) -> Training:
        if done == [0, 1]:
            raise KeyboardInterrupt
        done.append(seed)
        return Training([Checkpoint(10.5, GOOD)], "Keras 3.0")

    results = tmp_path / "quality.jsonl"
    with pytest.raises(KeyboardInterrupt):
        measure({"Keras": program}, 3, results)
    training = Training([Checkpoint(10.5, GOOD)], "Keras 3.0")
    assert measure({"Keras": program}, 2, results) == {"Keras": [training, training]}
    line = "Keras, 10.5 (10.5 to 10.5), –, 10.5 (10.5 to 10.5), 0.9956, 0.9800"
    assert capsys.readouterr().out.splitlines() == [f"seed 0: {line}", f"seed 1: {line}"]


def test_its_command_is_accepted() -> None:
    assert parser().parse_args(["quality", "--fastai-python", "python"]).part == "quality"


def test_a_python_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "python"
    with pytest.raises(SystemExit, match=f"error: there is no {missing}: docs/benchmarks.md says how"):
        contenders(None, missing)
