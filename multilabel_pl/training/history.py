"""The metrics of a fit by epoch, and those of an evaluation, as notebooks show them."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from multilabel_pl.html_tables import html_table
from multilabel_pl.results.text import table

EPOCH, LOSS = "epoch", "train_loss"
LEADING = ("loss", "map", "exact_match", "f1_macro", "f1_micro")


class History(list[dict[str, float]]):
    """The metrics of the epochs of a fit by name, `epoch` from 1. `print` and notebooks show the leading ones."""

    def __str__(self) -> str:
        """Shows the leading metrics as a table."""
        return table(*self._leading())

    def _repr_html_(self) -> str:
        return html_table(*self._leading())

    def _leading(self) -> tuple[list[str], list[list[str]]]:
        """Returns the names of the columns, and the rows."""
        names = [name for name in (LOSS, *(f"val_{name}" for name in LEADING)) if any(name in row for row in self)]
        rows = [[f"{row[EPOCH]:.0f}", *(f"{row[name]:.4f}" if name in row else "–" for name in names)] for row in self]
        return [EPOCH, *names], rows


class Results(list[Mapping[str, float]]):
    """What an evaluation returns, a dictionary of metrics by name; it shows the leading ones."""

    def __repr__(self) -> str:
        """Shows the leading metrics."""
        return ", ".join(f"{name} {value:.4f}" for name, value in self._leading())

    def _repr_html_(self) -> str:
        return html_table(["metric", "value"], [[name, f"{value:.4f}"] for name, value in self._leading()])

    def _leading(self) -> list[tuple[str, float]]:
        return [item for row in self for item in row.items() if item[0].partition("_")[2] in LEADING]


class HistoryRecorder(Callback):
    """Collects the history of a fit.

    Args:
        history: Where to.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.validated = False  # in this epoch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets an earlier fit."""
        self.history.clear()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts an epoch, in which there may be no validation."""
        self.validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes that there was one."""
        self.validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the metrics of an epoch."""
        logged: dict[str, Any] = trainer.callback_metrics
        values = {name: value.item() for name, value in logged.items() if self.validated or not name.startswith("val_")}
        self.history.append({EPOCH: trainer.current_epoch + 1, **values})
