"""What a Trainer's `predict` does beside predicting."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout

from lightning.pytorch import Callback, Trainer

from multilabel_pl.errors import InputError
from multilabel_pl.messages import say
from multilabel_pl.results.prediction_writer import PredictionWriter


@contextmanager
def writing(trainer: Trainer, callbacks: list[Callback], writer: PredictionWriter) -> Iterator[None]:
    """Writes what a trainer predicts meanwhile, and prints a summary.

    If rows go to standard output, all else goes to standard error.

    Args:
        trainer: The trainer.
        callbacks: Its callbacks.
        writer: What writes.

    Raises:
        InputError: If there was no image to predict.
    """
    limit = trainer.limit_predict_batches
    callbacks.append(writer)
    with redirect_stdout(sys.stderr) if writer.output.is_stdout else nullcontext():
        try:
            yield
        finally:
            callbacks.remove(writer)
            trainer.limit_predict_batches = limit
        if trainer.is_global_zero and not writer.summary:
            raise InputError("there were no images to predict: raise --trainer.limit_predict_batches")
        say(f"\n{writer.summary}")
