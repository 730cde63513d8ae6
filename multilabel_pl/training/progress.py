"""What is seen of a run: a bar of what is under way, and a line for each epoch that is done."""

import shutil
import sys
import time
from collections.abc import Sized
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from multilabel_pl.data.prediction_order import PredictionOrder
from multilabel_pl.messages import say
from multilabel_pl.training.checkpointing import SHOWN
from multilabel_pl.training.log_interval import EVERY

LOSS = "train_loss"
HEADER = f"{'epoch':>9}  {'time':>8}  {LOSS}  {'  '.join(SHOWN)}"
BAR = "{desc} |{bar}| {n_fmt}/{total_fmt} {remaining}{postfix}"
IMAGES_BAR = "{desc} |{bar}| {n_fmt}/{total_fmt} images {rate_fmt} {remaining}"
MAX_WIDTH = 80


class EpochProgress(ProgressBar):
    """Bars on a terminal, which vanish when they are full, and a table with a line for each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.enabled = True
        self.bars: list[tqdm] = []  # of an epoch, and of a validation within it
        self.started = 0.0
        self.values: dict[str, float] = {}  # of the epoch's last validation

    def enable(self) -> None:
        """Shows what is under way."""
        self.enabled = True

    def disable(self) -> None:
        """Shows nothing."""
        self.enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the names of the columns."""
        self._print(HEADER)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar of an epoch."""
        self.started = time.monotonic()
        self._open(self._name(trainer), self.total_train_batches)
        self._show_values()
        self.values = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Moves the bar."""
        self._move(trainer.fit_loop.batch_idx + 1)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar of a validation."""
        batches = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
        self._open("validate", sum(batches))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar of a test."""
        self._open("test", sum(trainer.num_test_batches))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar of a prediction, of the images of this process; those that were done before are full."""
        order = getattr(getattr(trainer.predict_dataloaders, "batch_sampler", None), "sampler", None)
        done = order.done if isinstance(order, PredictionOrder) else 0
        total = done + len(order) if isinstance(order, Sized) else None
        self._open("predict", total, IMAGES_BAR, initial=done, unit=" images")

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Moves the bar, which draws itself ten times a second at most."""
        if self.bars:
            self.bars[-1].update(len(batch[0]))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Moves the bar."""
        self._move(batch_idx + 1)

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the bar of a validation, and shows its values on that of the epoch."""
        self._close()
        if not trainer.sanity_checking:
            self.values = {n: trainer.callback_metrics[n].item() for n in SHOWN if n in trainer.callback_metrics}
            self._show_values()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the bar."""
        self._close()

    on_predict_end = on_test_end

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the bar and prints the epoch's line."""
        self._close()
        values = {**trainer.callback_metrics, **dict.fromkeys(SHOWN), **self.values}
        cells = {n: f"{value:.4f}" if (value := values.get(n)) is not None else "–" for n in (LOSS, *SHOWN)}
        numbers = "  ".join(f"{cell:>{len(name)}}" for name, cell in cells.items())
        self._print(f"{self._name(trainer):>9}  {time.monotonic() - self.started:>6.1f} s  {numbers}")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Closes all bars."""
        while self.bars:
            self._close()

    def _name(self, trainer: Trainer) -> str:
        last = f"/{trainer.max_epochs}" if trainer.max_epochs not in (None, -1) else ""
        return f"{trainer.current_epoch + 1}{last}"

    def _open(self, name: str, total: float | None, bar_format: str = BAR, **more: Any) -> None:
        if self.enabled:
            width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
            options: dict[str, Any] = {"ncols": width, "bar_format": bar_format, "leave": False, "disable": None}
            self.bars.append(tqdm(desc=name, total=total, file=sys.stderr, **options, **more))

    def _move(self, done: int) -> None:
        if self.bars and (done % EVERY == 0 or done == self.bars[-1].total):
            self.bars[-1].update(done - self.bars[-1].n)

    def _show_values(self) -> None:
        if self.bars:
            self.bars[-1].set_postfix_str(" ".join(f"{name} {value:.4f}" for name, value in self.values.items()))

    def _close(self) -> None:
        if self.bars:
            self.bars.pop().close()

    def _print(self, text: str) -> None:
        if self.enabled:
            say(text)
