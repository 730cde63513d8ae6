"""How often the loss of a small set is logged."""

from lightning.pytorch import Callback, LightningModule, Trainer

EVERY = 50  # steps, Lightning's default


class LogInterval(Callback):
    """Logs at least once an epoch, where Lightning's default would leave out whole epochs."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shortens the interval to the steps of an epoch, if these are fewer."""
        steps = trainer.num_training_batches / trainer.accumulate_grad_batches  # infinite if there is no telling
        trainer.log_every_n_steps = max(1, int(min(EVERY, steps)))  # type: ignore[attr-defined] # undeclared
