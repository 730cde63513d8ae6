"""The Trainer, whose methods are the subcommands of the command line."""

from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch import Callback, LightningModule
from torch import Tensor

from multilabel_pl.atomic import replacing
from multilabel_pl.checkpoint import write_renewed
from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.errors import InputError
from multilabel_pl.extras import check_extra
from multilabel_pl.messages import note, say, warn
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.pixels import MAX_PIXEL
from multilabel_pl.results.report import report, write_metrics, write_report

CHECKED = 100  # images that an exported model is checked with
EXAMPLES = 12  # images to choose from on the page


class Trainer(pl.Trainer):
    """Lightning's Trainer; its evaluating methods leave their results in a folder beside the checkpoint."""

    callbacks: list[Callback]  # this and the next Lightning sets, but doesn't declare
    fast_dev_run: int | bool
    num_unreadable: int = 0  # files that the last `predict` could not read
    run_folder: Path | None = None  # where `fit` on the command line leaves its files

    def validate(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: str | Path | None = None,
        verbose: bool = True,
        *args: Any,
        output: str | None = None,
        figures: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Measure a checkpoint on the validation images; with an output, set its thresholds anew.

        Args:
            model: As in Lightning's Trainer.
            dataloaders: As in Lightning's Trainer.
            ckpt_path: `best` or `last` of the newest run, or the path of a checkpoint.
            verbose: Whether to print the metrics.
            *args: As in Lightning's Trainer.
            output: A checkpoint to write: the same one, but with temperatures and thresholds set as `--model.calibrate`
                and `--model.threshold` say.
            figures: Whether to draw pictures beside the report.
            **kwargs: As in Lightning's Trainer.
        """
        if output is not None and ckpt_path is None:
            raise InputError("validate needs a checkpoint to write an output: add ckpt_path")
        if output is not None and (Path(output).suffix != ".ckpt" or Path(output).is_dir()):
            raise InputError(f"output must be a file ending in .ckpt, got {output}")
        module = model or self.lightning_module
        if isinstance(module, MultiLabelClassifier):
            module.relearn = output is not None
        results = super().validate(model, dataloaders, ckpt_path, False, *args, **kwargs)
        source = self.ckpt_path  # Lightning's "best" and "last" are files by now
        self.ckpt_path = output or source  # the report belongs beside the output
        self._report("val", "validate", verbose, figures)
        if output is not None and self.is_global_zero:
            assert isinstance(module, MultiLabelClassifier)
            learned = {name: getattr(module, name).cpu() for name in ("temperatures", "thresholds")}
            options = {"calibrate": module.calibrate, "threshold": module.threshold}
            write_renewed(Path(str(source)), Path(output), learned, options)
            say(f"written to {output}: thresholds by {module.threshold}{', calibrated' * module.calibrate}")
        return results

    def test(self, *args: Any, verbose: bool = True, figures: bool = True, **kwargs: Any) -> Any:
        """Measure a checkpoint on the test images.

        Args:
            *args: As in Lightning's Trainer.
            verbose: Whether to print the metrics.
            figures: Whether to draw pictures beside the report.
            **kwargs: As in Lightning's Trainer.
        """
        kwargs["verbose"] = False
        results = super().test(*args, **kwargs)
        self._report("test", "test", verbose, figures)
        return results

    def predict(
        self,
        *args: Any,
        ckpt_path: str | Path | None = None,
        output: str | None = None,
        figure: bool | int | list[int] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Tag the test images, or image files, in a table of all and a picture of some.

        Args:
            *args: As in Lightning's Trainer.
            ckpt_path: `best` or `last` of the newest run, or the path of a checkpoint.
            output: The table to write, ending in .csv or .jsonl; predict/predictions.csv beside the checkpoint if not
                given.
            figure: What to draw: `true` for a sheet of the first 100 images and their tags; an index, or a list of
                indices, for the probabilities of these images; `false` for nothing. Image 9 of a test set and nothing
                of files if not given.
            **kwargs: As in Lightning's Trainer.

        Returns:
            The predictions of each batch.
        """
        from multilabel_pl.results.prediction_writer import PredictionWriter  # matplotlib takes a while to import

        if output is None and ckpt_path is None:
            raise InputError("predict needs an output, or a checkpoint to put it beside")
        writer = PredictionWriter(None if output is None else Path(output), figure)
        self.callbacks.append(writer)
        kwargs["ckpt_path"] = ckpt_path
        try:
            predictions = super().predict(*args, **kwargs)
        finally:
            self.callbacks.remove(writer)
        if self.is_global_zero and not writer.written:
            raise InputError("there were no images to predict: raise --trainer.limit_predict_batches")
        self.num_unreadable = len(writer.problems)
        for problem in writer.problems:
            warn(problem)
        say("\nwritten to " + ", drawn in ".join(map(str, writer.written)))
        return predictions

    def export(
        self,
        model: MultiLabelClassifier,
        datamodule: LabelledDataModule,
        ckpt_path: str | Path | None = None,
        output: str | None = None,
    ) -> None:
        """Write a checkpoint as a program of its own, in ONNX or in torch.export's format.

        Args:
            model: The model; that of the checkpoint takes its place, if one is named.
            datamodule: Images to check with what is written.
            ckpt_path: `best` or `last` of the newest run, or the path of a checkpoint.
            output: The file to write, ending in .onnx or .pt2; beside the checkpoint, with its name and .onnx, if not
                given.
        """
        from multilabel_pl.results.export import check_exportable, export  # torch.export takes a while to import

        if output is None and ckpt_path is None:
            raise InputError("export needs an output, or a checkpoint to put it beside")
        path = Path(output) if output is not None else Path(str(ckpt_path)).with_suffix(".onnx")
        check_exportable(path)
        if ckpt_path is not None:
            model = type(model).load_from_checkpoint(ckpt_path, "cpu")
        images = _test_images(datamodule, model, CHECKED)
        if images is None:
            images = torch.randint(MAX_PIXEL + 1, (CHECKED, *model.form.shape), dtype=torch.uint8)
        differences = export(model, images, path)
        say(f"written to {path}, checked with {len(images)} images: {differences}")

    def demo(
        self,
        model: MultiLabelClassifier,
        datamodule: LabelledDataModule,
        ckpt_path: str | Path | None = None,
        beside: str | None = None,
        server_name: str = "127.0.0.1",
        server_port: int | None = None,
    ) -> None:
        """Serve a page to draw on, which shows what a checkpoint says of the drawing.

        Args:
            model: The model; that of the checkpoint takes its place, if one is named.
            datamodule: Images to choose from.
            ckpt_path: `best` or `last` of the newest run, or the path of a checkpoint.
            beside: Another checkpoint, whose answers are shown beside.
            server_name: Where the page can be reached: from this machine alone, or, with 0.0.0.0, from its network.
            server_port: The port; the first free one from 7860 on, if not given.
        """
        check_extra("demo", "the page")
        from multilabel_pl.serving.page import build_page, serve

        if ckpt_path is not None:
            model = type(model).load_from_checkpoint(ckpt_path, "cpu")
        models = {str(ckpt_path or "model"): model}
        if beside is not None:
            models[beside] = MultiLabelClassifier.load_from_checkpoint(beside, "cpu")
        page = build_page(models, _test_images(datamodule, model, EXAMPLES))
        say(f"draw at {serve(page, server_name, server_port)} (Ctrl-C ends it)")
        page.block_thread()

    def _report(self, stage: Literal["val", "test"], folder: str, verbose: bool, figures: bool) -> None:
        """Prints what the evaluation that has just run has found, and writes it beside its checkpoint."""
        metrics = {name: value.item() for name, value in self.callback_metrics.items()}
        if not metrics:
            raise InputError(f"{folder} had no images to measure: raise --trainer.limit_{stage}_batches")
        model = self.lightning_module
        if not self.is_global_zero or not isinstance(model, MultiLabelClassifier):
            return
        assert model.evaluation is not None
        text = report(model.evaluation)
        if verbose:
            say(f"\n{text}\n")
        if self.ckpt_path is None:
            return
        place = Path(self.ckpt_path).parent / folder
        write_metrics(metrics, place / "metrics.json")
        pictures = self._draw(stage, model.evaluation.cpu(), place) if figures else []
        write_report(f"# {folder} of {self.ckpt_path}\n\n{text}", pictures, place / "report.md")
        say(f"written to {place}")

    def _draw(self, stage: Literal["val", "test"], evaluation: Evaluation, place: Path) -> list[str]:
        """Draws the pictures of an evaluation and returns the names of their files."""
        from multilabel_pl.results.evaluation_plots import draw_evaluation  # matplotlib takes a while to import

        loader = self.val_dataloaders if stage == "val" else self.test_dataloaders
        dataset = getattr(loader, "dataset", None)
        images = dataset if isinstance(dataset, LabelledDataset) else None
        names = []
        for name, figure in draw_evaluation(evaluation, images, run=place.parent):
            names.append(f"{name}.png")
            with replacing(place / names[-1]) as partial:
                figure.savefig(partial, dpi=120)
        return names


def _test_images(data: LabelledDataModule, model: MultiLabelClassifier, count: int) -> Tensor | None:
    """Returns the first test images, uint8 (N, C, H, W); or nothing, with a note, if they are missing or don't fit."""
    try:
        data.setup("test")
        model.adopt_data(data)
    except InputError as error:
        note(f"going on without test images: {error}")
        return None
    assert data.test_set is not None
    images, _ = data.test_set.__getitems__(list(range(min(count, len(data.test_set)))))
    return images
