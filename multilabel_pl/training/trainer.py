"""The Trainer, whose methods are the subcommands of the command line."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback

from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.data.own_images import OwnImagesDataModule
from multilabel_pl.data.shard_writer import write_shards
from multilabel_pl.errors import InputError, check_extra
from multilabel_pl.messages import note, say
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.loading import load_weights
from multilabel_pl.model.rules import check_threshold
from multilabel_pl.results.evaluation_writer import EvaluationOutput
from multilabel_pl.results.prediction_output import BESIDE_CHECKPOINT, PredictionOutput
from multilabel_pl.results.prediction_writer import PredictionWriter
from multilabel_pl.training.allocator import return_freed_memory
from multilabel_pl.training.checkpoint_io import AtomicCheckpointIO
from multilabel_pl.training.displays import as_list, with_own_displays
from multilabel_pl.training.example_images import first_test_images
from multilabel_pl.training.history import History, HistoryRecorder, Results
from multilabel_pl.training.lightning_internals import AveragedDecision, ExactResume, FusedClipping
from multilabel_pl.training.log_interval import LogInterval
from multilabel_pl.training.nan_guard import NanGuard
from multilabel_pl.training.predicting import writing
from multilabel_pl.training.quiet import filter_messages
from multilabel_pl.training.reporting import report_evaluation
from multilabel_pl.training.restoring import ResumeGuard, TrainerCheckpointIO
from multilabel_pl.training.tuning import path_of_tuned, write_tuned

EXAMPLES = 12  # images to choose from on the page


class Trainer(pl.Trainer):
    """Lightning's Trainer, with evaluations that leave reports, runs that resume exactly, and atomic checkpoints.

    Args:
        **kwargs: As in Lightning's Trainer.

    Attributes:
        history: The metrics of the epochs of the last fit.
    """

    callbacks: list[Callback]  # this and the next Lightning sets, but doesn't declare
    fast_dev_run: int | bool
    num_unreadable: int = 0  # files that the last `predict` could not read
    run_folder: Path | None = None  # where `fit` on the command line writes

    def __init__(self, **kwargs: Any) -> None:
        filter_messages()
        users = as_list(kwargs.get("callbacks"))
        super().__init__(**kwargs)
        self.history = History()
        every = [LogInterval()] if kwargs.get("log_every_n_steps") is None and not self.barebones else []
        own = [*every, NanGuard(), FusedClipping(), ExactResume(), AveragedDecision(), ResumeGuard()]
        self.callbacks = [*own, HistoryRecorder(self.history), *with_own_displays(self.callbacks, users)]
        if type(self.strategy.checkpoint_io) is TorchCheckpointIO:  # none of the user's
            self.strategy.checkpoint_io = TrainerCheckpointIO(self)

    def validate(
        self,
        *args: Any,
        verbose: bool = False,
        figures: bool = True,
        label_errors: bool = False,
        explain: bool = False,
        **kwargs: Any,
    ) -> Results:
        """Measure a checkpoint on the validation images.

        Args:
            *args: As in Lightning's Trainer.
            verbose: Whether to print the report.
            figures: Whether to draw figures beside the report, and to write report.html.
            label_errors: Whether to search for labels of the images that are likely wrong, with cleanlab.
            explain: Whether report.html has a heat map of what speaks for a label in each mistake, by Grad-CAM.
            **kwargs: As in Lightning's Trainer.

        Returns:
            As Lightning's, with all metrics by name.
        """
        output = EvaluationOutput(figures, label_errors, explain)
        kwargs["verbose"] = False  # in place: from the call below, jsonargparse knows what kwargs may be
        results = Results(super().validate(*args, **kwargs))
        report_evaluation(self, self.ckpt_path, "validate", verbose, output)
        return results

    def test(
        self,
        *args: Any,
        verbose: bool = False,
        figures: bool = True,
        label_errors: bool = False,
        explain: bool = False,
        **kwargs: Any,
    ) -> Results:
        """Measure a checkpoint on the test images.

        Args:
            *args: As in Lightning's Trainer.
            verbose: Whether to print the report.
            figures: Whether to draw figures beside the report, and to write report.html.
            label_errors: Whether to search for labels of the images that are likely wrong, with cleanlab.
            explain: Whether report.html has a heat map of what speaks for a label in each mistake, by Grad-CAM.
            **kwargs: As in Lightning's Trainer.

        Returns:
            As Lightning's, with all metrics by name.
        """
        output = EvaluationOutput(figures, label_errors, explain)
        kwargs["verbose"] = False
        results = Results(super().test(*args, **kwargs))
        report_evaluation(self, self.ckpt_path, "test", verbose, output)
        return results

    def tune(
        self,
        model: MultiLabelClassifier,
        datamodule: LabelledDataModule,
        ckpt_path: str | Path | None = None,
        threshold: float | list[float] | str | None = None,
        calibrate: bool | None = None,
        output: str | None = None,
        figures: bool = True,
    ) -> None:
        """Learn the thresholds and the calibration of a checkpoint again, without training.

        Args:
            model: The model; the checkpoint's weights are loaded into it.
            datamodule: Its validation images are learned from.
            ckpt_path: `best` or `last` of the newest run, or the path of a checkpoint.
            threshold: A number, a list with one for each label, or a rule, as for `--model.threshold`; the checkpoint's
                if not given.
            calibrate: Whether to fit the calibration; as in the checkpoint if not given.
            output: The checkpoint to write, ending in .ckpt; a report lands in the folder tune beside it.
            figures: Whether to draw figures beside the report, and to write report.html.
        """
        if ckpt_path is None:
            raise InputError("tune needs a checkpoint to start from: give ckpt_path")
        path = path_of_tuned(output)
        if threshold is not None:
            check_threshold(threshold, len(model.task.labels) if model.task is not None else None)
        content = self._read(ckpt_path)
        super().validate(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False)
        if (before := model.evaluation) is None:
            raise InputError("tune had no images to learn from: raise --trainer.limit_val_batches")
        decision = model.decision
        decision.configure(threshold, calibrate)
        decision.fit(before.uncalibrated, before.targets)
        model.evaluate(before.uncalibrated, before.targets)
        if self.is_global_zero:
            write_tuned(content, model, datamodule, path)  # of which the report has the digest
        report_evaluation(self, path, "tune", True, EvaluationOutput(figures))
        for text in decision.notes:
            note(text)
        say(f"written to {path}: thresholds by {decision.threshold}{', calibrated' * decision.calibrate}")

    def predict(
        self,
        *args: Any,
        ckpt_path: str | Path | None = None,
        output: str | None = None,
        figure: bool | int | list[int] | None = None,
        spreadsheet: bool = False,
        explain: list[str | int] | str | None = None,
        restart: bool = False,
        return_predictions: bool | None = False,
        **kwargs: Any,
    ) -> Any:
        """Tag the test images, or image files: a table of all and a figure of some.

        Args:
            *args: As in Lightning's Trainer.
            ckpt_path: `best` or `last` of the newest run, or the path of a checkpoint.
            output: The table to write, ending in .csv, .jsonl or .parquet; predict/predictions.csv beside the
                checkpoint if not given; `-` for CSV on standard output.
            figure: What to draw: `true` for a sheet of the first 100 images and their tags; an index, or a list of
                indices, for the probabilities of these images; `false` for nothing. Image 9 of a test set and nothing
                of files if not given.
            spreadsheet: Whether to quote names in CSV that a spreadsheet would take for formulas.
            explain: A label, or a list such as "[cat, dog]": the figure is a sheet of the images with heat maps of what
                in them speaks for it.
            restart: Whether to predict all images again if the same prediction was interrupted, rather than to resume.
            return_predictions: Whether to return the predictions, which are then all in memory.
            **kwargs: As in Lightning's Trainer.

        Returns:
            The predictions of each batch, if they are asked for.
        """
        if output is None and ckpt_path is None:
            raise InputError("predict needs an output, or a checkpoint to write it beside")
        kwargs["ckpt_path"], kwargs["return_predictions"] = ckpt_path, return_predictions
        explained = [explain] if isinstance(explain, str) else list(map(str, explain or []))
        asked = PredictionOutput(Path(output or BESIDE_CHECKPOINT), figure, spreadsheet, explained)
        checkpoint = Path(ckpt_path) if ckpt_path is not None else None
        writer = PredictionWriter(asked, checkpoint, beside_checkpoint=output is None, restart=restart)
        with writing(self, self.callbacks, writer):
            predictions = super().predict(*args, **kwargs)
        self.num_unreadable = writer.num_unreadable
        return predictions

    def export(
        self,
        model: MultiLabelClassifier,
        datamodule: LabelledDataModule,
        ckpt_path: str | Path | None = None,
        output: str | None = None,
        half: bool = False,
        int8: bool = False,
        max_loss: float = 0.5,
    ) -> None:
        """Write a checkpoint as a program of its own, in ONNX or in torch.export's format.

        Args:
            model: The model; the checkpoint's weights are loaded into it if one is given.
            datamodule: Test images, to check the result with; validation images for lighter weights.
            ckpt_path: `best` or `last` of the newest run, or the path of a checkpoint.
            output: The file to write, ending in .onnx or .pt2; beside the checkpoint, with its name and .onnx, if not
                given.
            half: Whether weights are of half precision: the file is half as large.
            int8: Whether weights and activations are integers of 8 bits, in ONNX: a quarter, and faster on some CPUs.
            max_loss: Points of exact match on validation images that half or int8 may cost; with more, no file is
                written.
        """
        # torch.export takes a while to import.
        from multilabel_pl.training.programs import path_of_program, write_program

        path = path_of_program(output, ckpt_path)
        content = self._restore(model, ckpt_path)
        checkpoint = Path(ckpt_path) if ckpt_path is not None else None
        write_program(model, datamodule, content, checkpoint, path, half, int8, max_loss)

    def optimize(
        self, model: Any = None, datamodule: LabelledDataModule | None = None, output: str | None = None
    ) -> None:
        """Write images into shards, a few large files, for sets that outgrow one disk.

        Args:
            model: Not used; the command line passes one to every method.
            datamodule: The images.
            output: The folder to write, which must be new or empty.
        """
        if output is None or datamodule is None:
            raise InputError("optimize needs an output: the folder to write")
        if self.world_size > 1:
            raise InputError("optimize is done by one process: leave out --trainer.devices")
        write_shards(datamodule, Path(output))

    def demo(
        self,
        model: MultiLabelClassifier,
        datamodule: LabelledDataModule,
        ckpt_path: str | Path | None = None,
        beside: str | None = None,
        server_name: str = "127.0.0.1",
        server_port: int | None = None,
    ) -> None:
        """Serve a page to draw on, which shows a checkpoint's predictions for the drawing.

        Args:
            model: The model; the checkpoint's weights are loaded into it if one is given.
            datamodule: Test images to choose from.
            ckpt_path: `best` or `last` of the newest run, or the path of a checkpoint.
            beside: Another checkpoint, whose predictions are shown beside.
            server_name: Where the page can be reached: from this machine alone, or, with 0.0.0.0, from its network.
            server_port: The port; the first free one from 7860 on, if not given.
        """
        check_extra("demo", "the page")
        return_freed_memory()
        from multilabel_pl.serving.page import build_page, serve

        self._restore(model, ckpt_path)
        models = {str(ckpt_path or "model"): model}
        if beside is not None:
            models[beside] = MultiLabelClassifier.load_from_checkpoint(beside)
        own_images = isinstance(datamodule, OwnImagesDataModule)
        page = build_page(models, first_test_images(datamodule, model, EXAMPLES), own_images)
        say(f"draw at {serve(page, server_name, server_port)} (Ctrl-C ends it)")
        page.block_thread()

    def _read(self, path: str | Path) -> dict[str, Any]:
        """Reads a checkpoint, once: Lightning gets the same content when it asks for the file."""
        content: dict[str, Any] = self.strategy.load_checkpoint(path)
        if isinstance(self.strategy.checkpoint_io, AtomicCheckpointIO):
            self.strategy.checkpoint_io.opened[str(path)] = content
        return content

    def _restore(self, model: MultiLabelClassifier, path: str | Path | None) -> dict[str, Any] | None:
        """Loads a checkpoint's weights, if one is given, and returns its content."""
        model.eval()
        if path is None:
            return None
        content: dict[str, Any] = self.strategy.load_checkpoint(path)
        load_weights(content, model, path)
        return content
