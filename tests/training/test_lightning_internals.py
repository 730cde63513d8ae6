from pathlib import Path

import pytest
import torch

from benchmarks.crash import differences
from multilabel_pl.cli.main import main
from tests.conftest import BRIEF, QUIET, small


@pytest.mark.parametrize("limit", ["max_steps", "max_epochs", "limit_train_batches"])
def test_a_schedule_may_have_no_step(
    limit: str, small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *QUIET, *small(small_set), "--model.lr_schedule", "one_cycle", f"--trainer.{limit}", "0"])
    assert "nothing was trained" in capsys.readouterr().out


def test_a_resumed_run_may_be_longer_than_its_schedule_was(small_set: str, workplace: Path) -> None:
    words = ["fit", *QUIET, *BRIEF, *small(small_set), "--model.lr_schedule", "one_cycle"]
    main([*words, "--trainer.max_epochs", "3"])
    main([*words, "--trainer.max_epochs", "2"])
    main([*words, "--trainer.max_epochs", "3", "--ckpt_path", "last"])
    whole, resumed = (torch.load(f"runs/version_{i}/last.ckpt", weights_only=True) for i in range(2))
    [schedule] = resumed["lr_schedulers"]
    assert (schedule["total_steps"], schedule["last_epoch"], resumed["global_step"]) == (9, 9, 9)
    assert differences(resumed["lr_schedulers"], whole["lr_schedulers"], "schedules") == []
