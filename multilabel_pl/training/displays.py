"""This package's progress bar and summary in the place of Lightning's."""

from collections.abc import Sequence

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelSummary, ProgressBar

from multilabel_pl.training.layer_summary import LayerSummary
from multilabel_pl.training.progress import EpochProgress


def as_list(given: Callback | Sequence[Callback] | None) -> list[Callback]:
    """Returns a user's callbacks, one or several, in a list of its own, to which Lightning adds none."""
    return [given] if isinstance(given, Callback) else list(given or [])


def with_own_displays(callbacks: list[Callback], users: list[Callback]) -> list[Callback]:
    """Puts this package's progress bar and summary in the place of Lightning's, but not of the user's."""
    own = {ProgressBar: EpochProgress, ModelSummary: LayerSummary}
    return [
        next((ours() for base, ours in own.items() if isinstance(callback, base) and callback not in users), callback)
        for callback in callbacks
    ]
