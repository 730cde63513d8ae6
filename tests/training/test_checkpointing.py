from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from multilabel_pl import MNISTDataModule, MultiLabelClassifier, Trainer
from multilabel_pl.errors import InputError
from multilabel_pl.training.checkpointing import LastCheckpoint
from tests.callbacks import Spoil


@pytest.mark.parametrize("name", ["every_n_epochs", "every_n_train_steps"])
def test_an_interval_is_at_least_1(name: str) -> None:
    options: dict[str, Any] = {name: 0}
    with pytest.raises(InputError, match=f"^last_checkpoint.{name} must be at least 1, got 0$"):
        LastCheckpoint(**options)


@pytest.mark.parametrize(
    ("options", "saved_step"),
    [
        ({"train_time_interval": timedelta(0)}, 5),
        ({"train_time_interval": timedelta(days=1)}, None),
        ({"every_n_train_steps": 2}, 4),
    ],
    ids=["every time", "a long time", "every 2 steps"],
)
def test_a_checkpoint_within_an_epoch_is_written_at_its_time(
    options: dict[str, Any], saved_step: int | None, small_set: str, workplace: Path
) -> None:
    last = workplace / "last.ckpt"
    trainer = Trainer(
        max_epochs=1,
        limit_val_batches=0,
        callbacks=[LastCheckpoint(str(workplace), **options), Spoil(5)],  # which ends the run within the epoch
        log_every_n_steps=6,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    with pytest.raises(InputError, match="the loss of step 5"):
        trainer.fit(MultiLabelClassifier(), datamodule=MNISTDataModule(data_dir=small_set, val_size=100))
    assert (torch.load(last, weights_only=True)["global_step"] if last.exists() else None) == saved_step
