"""This package's progress bar and summary in the place of Lightning's."""

from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelSummary, ProgressBar

from multilabel_pl.training.layer_summary import LayerSummary
from multilabel_pl.training.progress import EpochProgress


def callbacks_of(options: dict[str, Any]) -> list[Callback]:
    """Returns the user's callbacks, in a list to which Lightning adds none."""
    given = options.get("callbacks") or []
    return [given] if isinstance(given, Callback) else list(given)


def with_own_displays(callbacks: list[Callback], users: list[Callback]) -> list[Callback]:
    """Puts this package's progress bar and summary in the place of Lightning's, but not of the user's."""
    own = {ProgressBar: EpochProgress, ModelSummary: LayerSummary}
    return [
        next((ours() for base, ours in own.items() if isinstance(callback, base) and callback not in users), callback)
        for callback in callbacks
    ]
