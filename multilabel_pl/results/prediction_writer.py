"""Writes predictions as a table, and draws some of them."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from multilabel_pl.atomic import atomic_path, check_writable
from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.data.image_files import ImageFiles
from multilabel_pl.errors import InputError
from multilabel_pl.images.decoding import read_image
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.prediction import PredictedBatch, name_tags
from multilabel_pl.results.figures import image_name, plain_text
from multilabel_pl.results.prediction_plots import TaggedImage, contact_sheet, prediction_figure
from multilabel_pl.results.prediction_tables import TABLES, file_rows, labelled_rows
from multilabel_pl.results.text import utf_8
from multilabel_pl.results.true_tags import name_true_tags

MAX_DRAWN = 100
TUTORIAL_IMAGE = 9  # that the tutorial shows


class PredictionWriter(BasePredictionWriter):
    """Writes all predictions of a `Trainer.predict` to a table, and draws some of them beside it.

    The table has one row an image, in the order of the data. For labelled images: path or index, true tags (`?cat`
    where unknown) and predicted ones, and the probability of each label; for image files: path, tags, the problem of a
    file that can't be read, and the probabilities. As JSON Lines, each row is an object. The figure has the table's
    name, with the suffix .png.

    Args:
        output: Path of the table, ending in .csv or .jsonl; predict/predictions.csv beside the checkpoint if not given.
        figure: True for a sheet of the first images and their tags; an index, or several, for the probabilities of
            these images; False for nothing. If not given, image 9 of labelled images, and nothing of files.
        spreadsheet: Whether a table in CSV is for a spreadsheet, which would take some names for formulas.

    Attributes:
        written: The files that have been written.
        problems: The problem of each file that can't be read.
        summary: How many images were tagged, and where the results are.

    Raises:
        InputError: If the suffix is another one or there are too many images to draw; when predicting, if an index is
            out of range.
    """

    def __init__(
        self, output: Path | None, figure: bool | int | Sequence[int] | None, spreadsheet: bool = False
    ) -> None:
        super().__init__(write_interval="epoch")
        if output is not None and output.suffix not in TABLES:
            raise InputError(f"output must end in {' or '.join(TABLES)}, got {output}")
        if isinstance(figure, Sequence) and len(figure) > MAX_DRAWN:
            raise InputError(f"figure takes at most {MAX_DRAWN} images, got {len(figure)}")
        self.asked = output
        self.figure = figure
        self.spreadsheet = spreadsheet
        self.written: list[Path] = []
        self.problems: list[str] = []
        self.summary = ""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks the indices and the output before any work is done."""
        self.output = self.asked or Path(str(trainer.ckpt_path)).parent / "predict" / "predictions.csv"
        self.figure_path = self.output.with_suffix(".png")
        assert trainer.predict_dataloaders is not None
        loader = trainer.predict_dataloaders
        self.images: LabelledDataset | ImageFiles = loader.dataset
        batches = int(sum(trainer.num_predict_batches)) * trainer.world_size
        size = min(len(self.images), batches * loader.batch_sampler.batch_size)
        self.chosen = self._chosen(size)
        for index in self.chosen:
            if not 0 <= index < size:
                raise InputError(f"figure must name images in [0, {size}), got {index}")
        inputs = {path.resolve() for path in self.images.paths or []}
        for path in (self.output, self.figure_path):
            if path.is_dir():
                raise InputError(f"{path} is a folder; choose another output")
            if path.resolve() in inputs:
                raise InputError(f"{path} would replace an image that is to be predicted; choose another output")
        check_writable(self.output)

    def _chosen(self, size: int) -> list[int]:
        """Returns the indices of the images to draw."""
        if self.figure is None:
            return [min(TUTORIAL_IMAGE, size - 1)] if isinstance(self.images, LabelledDataset) else []
        if isinstance(self.figure, bool):
            return list(range(min(size, MAX_DRAWN))) if self.figure else []
        return [self.figure] if isinstance(self.figure, int) else list(self.figure)

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[PredictedBatch],
        batch_indices: Sequence[Any],
    ) -> None:
        """Writes the table and the figure; if one fails, neither replaces an earlier one."""
        everything = _joined_on_first(trainer, predictions, batch_indices)
        if everything is not None:
            assert isinstance(pl_module, MultiLabelClassifier)
            self._write(everything, pl_module)

    def _write(self, everything: PredictedBatch, model: MultiLabelClassifier) -> None:
        probabilities, tags, metadata = everything
        labels = model.decision.labels
        named = name_tags(tags, labels)
        if isinstance(self.images, ImageFiles):
            problems = metadata
            self.problems = list(filter(None, problems))
            rows = file_rows(self.images.paths, named, problems)
            items = _files_to_draw(self.images, self.chosen, probabilities, problems)
        else:
            rows = labelled_rows(self.images.paths, name_true_tags(metadata, labels), named)
            items = _labelled_to_draw(self.images, self.chosen, metadata, probabilities)
        with atomic_path(self.output) as table:
            TABLES[self.output.suffix](rows, probabilities, labels, table, self.spreadsheet)
            with atomic_path(self.figure_path) as figure_path:
                if items:
                    self._draw(items, model, figure_path)
        self.written = [self.output, self.figure_path] if items else [self.output]
        what = "images" if isinstance(self.images, ImageFiles) else "test images"
        files = ", drawn in ".join(map(str, self.written))
        self.summary = f"{len(rows) - len(self.problems):,} {what} tagged: written to {files}"

    def _draw(self, items: Sequence[TaggedImage], model: MultiLabelClassifier, path: Path) -> None:
        draw = contact_sheet if self.figure is True else prediction_figure
        with plain_text():
            draw(items, model.decision.labels, model.decision.thresholds.cpu()).savefig(path, dpi=150)


def _joined(batches: Sequence[PredictedBatch]) -> PredictedBatch:
    probabilities, tags = (torch.cat([batch[part] for batch in batches]).cpu() for part in (0, 1))
    metadata = [batch.metadata for batch in batches]
    return PredictedBatch(
        probabilities,
        tags,
        torch.cat(metadata).cpu() if isinstance(metadata[0], Tensor) else list(chain.from_iterable(metadata)),
    )


def _joined_on_first(
    trainer: Trainer, batches: Sequence[PredictedBatch], indices: Sequence[Sequence[Sequence[int]]]
) -> PredictedBatch | None:
    """Joins the batches of all processes on the first one, in the order of the images; the others get nothing."""
    own = _joined(batches)
    if trainer.world_size == 1:
        return own
    [loader_indices] = indices
    parts: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
    torch.distributed.gather_object((torch.tensor(list(chain.from_iterable(loader_indices))), own), parts)
    if parts is None:
        return None
    order = torch.cat([places for places, _ in parts]).argsort()
    probabilities, tags, metadata = _joined([part for _, part in parts])
    in_order = metadata[order] if isinstance(metadata, Tensor) else [metadata[i] for i in order.tolist()]
    return PredictedBatch(probabilities[order], tags[order], in_order)


def _labelled_to_draw(
    images: LabelledDataset, chosen: list[int], targets: Tensor, probabilities: Tensor
) -> list[TaggedImage]:
    return [TaggedImage(images[i][0], image_name(images, i), targets[i], probabilities[i]) for i in chosen]


def _files_to_draw(
    files: ImageFiles, chosen: list[int], probabilities: Tensor, problems: list[str | None]
) -> list[TaggedImage]:
    readable = [(files.paths[i], probabilities[i]) for i in chosen if problems[i] is None]
    return [TaggedImage(read_image(path, files.task.background), utf_8(path.name), None, row) for path, row in readable]
