"""The Trainer, whose methods are the subcommands of the command line."""

from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch import Callback

from multilabel_pl.errors import InputError
from multilabel_pl.results.predictions import PredictionWriter
from multilabel_pl.results.report import metrics_table, write_metrics


class Trainer(pl.Trainer):
    """Lightning's Trainer; its evaluating methods leave their results in a folder beside the checkpoint."""

    callbacks: list[Callback]  # this and the next Lightning sets, but doesn't declare
    fast_dev_run: int | bool
    run_folder: Path | None = None  # where `fit` on the command line leaves its files

    def validate(self, *args: Any, verbose: bool = True, **kwargs: Any) -> Any:
        """Measure a checkpoint on the validation images.

        Args:
            *args: As in Lightning's Trainer.
            verbose: Whether to print the metrics.
            **kwargs: As in Lightning's Trainer.
        """
        kwargs["verbose"] = False
        results = super().validate(*args, **kwargs)
        self._report("val", "validate", verbose)
        return results

    def test(self, *args: Any, verbose: bool = True, **kwargs: Any) -> Any:
        """Measure a checkpoint on the test images.

        Args:
            *args: As in Lightning's Trainer.
            verbose: Whether to print the metrics.
            **kwargs: As in Lightning's Trainer.
        """
        kwargs["verbose"] = False
        results = super().test(*args, **kwargs)
        self._report("test", "test", verbose)
        return results

    def predict(
        self,
        *args: Any,
        ckpt_path: str | Path | None = None,
        output: str | None = None,
        figure: int | list[int] = 9,
        **kwargs: Any,
    ) -> Any:
        """Tag the test images, in a table of all and a picture of some.

        Args:
            *args: As in Lightning's Trainer.
            ckpt_path: `best` or `last` of the newest run, or the path of a checkpoint.
            output: The table to write, ending in .csv; predict/predictions.csv beside the checkpoint if not given.
            figure: Index of the image to draw, or several, such as [0, 9]; [] for no picture. The picture has the
                name of the table, with the ending .png.
            **kwargs: As in Lightning's Trainer.
        """
        if output is None and ckpt_path is None:
            raise InputError("predict needs an output, or a checkpoint to put it beside")
        path = Path(output) if output is not None else Path(str(ckpt_path)).parent / "predict" / "predictions.csv"
        writer = PredictionWriter(path, [figure] if isinstance(figure, int) else figure)
        self.callbacks.append(writer)
        kwargs["ckpt_path"] = ckpt_path
        try:
            predictions = super().predict(*args, **kwargs)
        finally:
            self.callbacks.remove(writer)
        if not writer.written:
            raise InputError("there were no images to predict: raise --trainer.limit_predict_batches")
        if self.is_global_zero:
            print(f"\nwritten to {writer.output}" + (f", drawn in {writer.picture}" if writer.figure else ""))
        return predictions

    def _report(self, prefix: Literal["val", "test"], folder: str, verbose: bool) -> None:
        """Prints the metrics of the evaluation that has just run, and writes them beside its checkpoint."""
        if not self.is_global_zero:
            return
        metrics = {name: value.item() for name, value in self.callback_metrics.items()}
        if not metrics:
            raise InputError(f"{folder} had no images to measure: raise --trainer.limit_{prefix}_batches")
        if verbose:
            print(metrics_table(metrics, prefix))
        if self.ckpt_path is not None:
            path = Path(self.ckpt_path).parent / folder / "metrics.json"
            write_metrics(metrics, path)
            print(f"written to {path}")
