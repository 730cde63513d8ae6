import csv
from pathlib import Path

import pytest

from multilabel_pl.cli.main import main
from tests.conftest import QUIET, small


@pytest.mark.parametrize(("options", "logged"), [([], [2, 5, 8]), (["--trainer.log_every_n_steps", "4"], [3, 7])])
def test_a_short_epoch_logs_its_loss_unless_asked_for_less(
    options: list[str], logged: list[int], small_set: str, workplace: Path
) -> None:
    main(
        ["fit", *QUIET, *small(small_set), "--trainer.max_epochs", "3", "--trainer.limit_train_batches", "3", *options]
    )
    with Path("runs/version_0/metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["train_loss"]] == logged
