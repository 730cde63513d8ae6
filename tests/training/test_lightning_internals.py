from pathlib import Path

import torch

from benchmarks.crash import differences
from multilabel_pl.cli.main import main
from tests.conftest import BRIEF, QUIET, small


def test_a_resumed_run_may_be_longer_than_its_schedule_was(small_set: str, workplace: Path) -> None:
    words = ["fit", *QUIET, *BRIEF, *small(small_set), "--model.lr_schedule", "one_cycle"]
    main([*words, "--trainer.max_epochs", "3"])
    main([*words, "--trainer.max_epochs", "2"])
    main([*words, "--trainer.max_epochs", "3", "--ckpt_path", "last"])
    whole, resumed = (torch.load(f"runs/version_{i}/last.ckpt", weights_only=True) for i in range(2))
    [schedule] = resumed["lr_schedulers"]
    assert (schedule["total_steps"], schedule["last_epoch"], resumed["global_step"]) == (9, 9, 9)
    assert differences(resumed["lr_schedulers"], whole["lr_schedulers"], "schedules") == []
