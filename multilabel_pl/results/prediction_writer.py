"""Writes predictions as a table, batch by batch, and draws some of them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from multilabel_pl.atomic import atomic_path
from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.data.image_files import ImageFiles
from multilabel_pl.data.prediction_order import PredictionOrder
from multilabel_pl.errors import InputError
from multilabel_pl.messages import note, say, warn
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.explanation import Explainer
from multilabel_pl.model.prediction import PredictedBatch
from multilabel_pl.results.prediction_job import job_of
from multilabel_pl.results.prediction_output import PredictionOutput
from multilabel_pl.results.prediction_tables import PredictedImages, rows_of
from multilabel_pl.results.standard_output import StandardOutput
from multilabel_pl.results.unfinished_table import Part, Progress, close_folder, open_folder, read_progress

MAX_WARNINGS = 20


class PredictionWriter(Callback):
    """Writes all predictions of a `Trainer.predict` to a table as they are made, and draws some of them beside it.

    The table has one row an image, in the order of the data. For labelled images: path or index, true tags (`?cat`
    where unknown) and predicted ones, and the probability of each label; for image files: path, tags, the problem of a
    file that can't be read, and the probabilities. As JSON Lines, each row is an object. The figure has the table's
    name, with the suffix .png.

    Rows are kept beside the table until they replace an earlier one as a whole. After an interruption, the same
    prediction resumes from them, if the images come from a data module of this package and the model from a file.

    Args:
        output: What to write, and where.
        checkpoint: The file of the model, if it is from one.
        beside_checkpoint: Whether its path is relative to the folder of the checkpoint.
        restart: Whether to predict all images again rather than to resume.

    Attributes:
        num_unreadable: On the first process, how many files can't be read.
        summary: On the first process, how many images were tagged, and where the results are.

    Raises:
        InputError: When predicting, if an index to draw is out of range, a label to explain is unknown, or the output
            can't be written.
    """

    def __init__(
        self,
        output: PredictionOutput,
        checkpoint: Path | None = None,
        beside_checkpoint: bool = False,
        restart: bool = False,
    ) -> None:
        self.output = output
        self.checkpoint = checkpoint if checkpoint is not None and checkpoint.is_file() else None
        self.beside_checkpoint = beside_checkpoint
        self.restart = restart
        self.resumes = False  # whether an interrupted prediction of these images can be resumed
        self.rows: Part | StandardOutput | None = None  # if there are images to predict
        self.lock: TextIO | None = None  # of the folder of the rows
        self.problems: list[str] = []  # of the first files of this process that can't be read
        self.num_unreadable = 0
        self.summary = ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks what is asked for, and finds rows to resume from, before the images are fetched."""
        data = trainer.datamodule  # type: ignore[attr-defined] # set, but undeclared
        loader = data.predict_dataloader() if data is not None else None
        if not isinstance(loader, DataLoader) or not isinstance(order := loader.sampler, PredictionOrder):
            return
        order.limit(trainer.limit_predict_batches)
        if not order.size:
            return
        trainer.limit_predict_batches = 1.0  # Lightning would apply it to what is left
        if self.checkpoint is not None:
            self.resumes = True
            self._prepare(trainer, _images_of(loader), order)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the table."""
        if self.rows is None:
            self._prepare(trainer, _images_of(trainer.predict_dataloaders), _order_of(trainer))
        assert self.rows is not None
        labels = _classifier(pl_module).decision.labels
        self.explained = self.output.explained(labels)
        self.format = self.output.format(self.images, labels)
        self.rows.open(self.format.header if trainer.is_global_zero else b"")

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: PredictedBatch,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes the rows of a batch, and warns of the first files that can't be read."""
        assert self.rows is not None
        start = self.order.share.start + self.rows.progress.images
        rows = rows_of(self.images, start, outputs, _classifier(pl_module).decision.labels)
        found = [row["error"] for row in rows if row.get("error")]
        content = self.format.encode(rows, outputs.probabilities.cpu())
        self.rows.append(content, len(rows), len(found), is_last=start + len(rows) >= self.order.share.stop)
        new = found[: MAX_WARNINGS - len(self.problems)]
        self.problems += new
        for problem in new:
            warn(problem)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Joins the rows of all processes; if the table or the figure fails, neither replaces an earlier one."""
        assert self.rows is not None
        self.rows.close()
        own = (self.rows.progress, self.problems)
        everyone: list[tuple[Progress, list[str]]] = [own]
        if trainer.world_size > 1:
            everyone = [own] * trainer.world_size
            torch.distributed.gather_object(own, everyone if trainer.is_global_zero else None)
        if trainer.is_global_zero:
            self._warn_of_others(everyone)
            written = self._finish(trainer, _classifier(pl_module))
            tagged = sum(progress.images for progress, _ in everyone) - self.num_unreadable
            what = "images" if isinstance(self.images, ImageFiles) else "test images"
            self.summary = f"{tagged:,} {what} tagged: written to {', drawn in '.join(map(str, written))}"

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Saves what is done, from which the same command resumes."""
        if not isinstance(self.rows, Part):
            return
        is_started = self.rows.file is not None
        self.rows.stop()
        images, share = self.rows.recorded.images, len(self.order.share)
        if self.resumes and images:
            if is_started:
                note(f"stopped after {images:,} of {share:,} images: the same command resumes there")
        elif self.lock is not None and trainer.world_size == 1:
            close_folder(self.rows.folder, self.lock)
        if self.lock is not None:
            self.lock.close()

    def _prepare(self, trainer: Trainer, images: PredictedImages, order: PredictionOrder) -> None:
        self.images, self.order = images, order
        if self.beside_checkpoint:
            folder = (self.checkpoint or Path(str(trainer.ckpt_path))).parent
            self.output = replace(self.output, table=folder / self.output.table)
        self.chosen = self.output.chosen(images, order.size)
        self.output.check(images)
        if self.output.is_stdout:
            if trainer.world_size > 1:
                raise InputError(
                    "standard output is for one process: name a file by output, or lower --trainer.devices"
                )
            self.rows = StandardOutput()
            return
        if trainer.is_global_zero:
            self._open_folder(trainer)
        trainer.strategy.barrier("rows of an unfinished prediction")
        self.rows = Part(self.output.table, trainer.global_rank)
        order.done = self.rows.progress.images

    def _open_folder(self, trainer: Trainer) -> None:
        table, precision = self.output.table, str(trainer.precision)
        job = job_of(self.images, self.order, self.checkpoint, precision, self.output.spreadsheet)
        self.lock = open_folder(table, job, self.restart or not self.resumes)
        if done := sum(read_progress(table, rank).images for rank in range(trainer.world_size)):
            say(f"resuming after {done:,} of {self.order.size:,} images: --restart true starts from scratch")

    def _warn_of_others(self, everyone: Sequence[tuple[Progress, list[str]]]) -> None:
        """Warns of files that other processes could not read, and of how many more there are."""
        others = list(chain.from_iterable(problems for _, problems in everyone[1:]))
        new = others[: MAX_WARNINGS - len(self.problems)]
        for problem in new:
            warn(problem)
        self.num_unreadable = sum(progress.unreadable for progress, _ in everyone)
        if self.num_unreadable > len(self.problems) + len(new):
            warn(f"unreadable files in all: {self.num_unreadable:,}; the table says why")

    def _finish(self, trainer: Trainer, model: MultiLabelClassifier) -> list[str]:
        """Puts the table and the figure in their places, and names them."""
        if not isinstance(self.rows, Part):
            return ["standard output"]
        self.rows.join(trainer.world_size)
        with atomic_path(self.output.drawing) as drawing:
            is_drawn = bool(self.chosen) and self._draw(trainer, model, drawing)
        self.format.finish(self.rows.path, self.output.table)
        assert self.lock is not None
        close_folder(self.rows.folder, self.lock)
        return [str(self.output.table), *([str(self.output.drawing)] if is_drawn else [])]

    def _draw(self, trainer: Trainer, model: MultiLabelClassifier, path: Path) -> bool:
        from multilabel_pl.results.prediction_figure import draw_predictions  # matplotlib takes a while to import

        def predict(images: Tensor) -> Tensor:
            with trainer.precision_plugin.forward_context():
                return model.tag(trainer.strategy.batch_to_device(images))[0].cpu()

        as_sheet = self.output.figure is True
        explain = Explainer(model) if self.explained else None
        return draw_predictions(
            self.images, self.chosen, predict, model.decision, path, as_sheet, explain, self.explained
        )


def _order_of(trainer: Trainer) -> PredictionOrder:
    """Returns the order of a trainer's loader, which may be the user's: it must serve the images from the first on."""
    loader: Any = trainer.predict_dataloaders
    if loader.batch_sampler is None:
        raise InputError("predict takes a loader that makes batches: give it a batch_size")
    if isinstance(loader.batch_sampler.sampler, PredictionOrder):
        return loader.batch_sampler.sampler
    if trainer.world_size > 1:
        raise InputError("several processes predict what a data module serves, no loader: give datamodule")
    order = PredictionOrder(len(loader.dataset), loader.batch_sampler.batch_size)
    order.limit(trainer.limit_predict_batches)
    return order


def _images_of(loader: Any) -> PredictedImages:
    if not isinstance(images := getattr(loader, "dataset", loader), LabelledDataset | ImageFiles):
        raise InputError(f"predict takes images of a data module, got {type(images).__name__}: give datamodule")
    return images


def _classifier(module: LightningModule) -> MultiLabelClassifier:
    assert isinstance(module, MultiLabelClassifier)
    return module
