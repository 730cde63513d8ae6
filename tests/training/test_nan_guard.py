from pathlib import Path
from typing import Any

import pytest

from multilabel_pl import MNISTDataModule, MultiLabelClassifier, Trainer
from multilabel_pl.errors import InputError
from multilabel_pl.training.checkpointing import LastCheckpoint
from tests.callbacks import Spoil


@pytest.mark.parametrize(
    ("spoiled", "stopped_at", "options"),
    [
        (1, 2, {"log_every_n_steps": 2, "limit_train_batches": 8}),  # found when the next loss is logged
        (4, 6, {"log_every_n_steps": 50, "limit_train_batches": 8, "val_check_interval": 6}),  # before a validation
        (4, 8, {"log_every_n_steps": 50, "limit_train_batches": 8, "limit_val_batches": 0}),  # at the end of the epoch
    ],
    ids=["logging", "validation", "end of epoch"],
)
def test_a_run_stops_at_a_loss_that_is_not_finite_and_saves_nothing(
    spoiled: int, stopped_at: int, options: dict[str, Any], small_set: str, workplace: Path
) -> None:
    trainer = Trainer(
        **options,
        max_epochs=2,
        callbacks=[Spoil(spoiled), LastCheckpoint(str(workplace))],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    message = f"^the loss of step {spoiled} was not a finite number: try a lower --model.lr$"
    with pytest.raises(InputError, match=message):
        trainer.fit(MultiLabelClassifier(), datamodule=MNISTDataModule(data_dir=small_set, val_size=100))
    assert trainer.global_step == stopped_at
    assert not list(workplace.rglob("last.ckpt"))
