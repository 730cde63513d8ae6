"""Predictions as a table, and as pictures of chosen images."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from multilabel_pl.errors import InputError
from multilabel_pl.model.classifier import MultiLabelClassifier, PredictedBatch
from multilabel_pl.model.prediction import name_tags
from multilabel_pl.results.files import replacing

TAG_SEPARATOR = "|"
MAX_FIGURE_ROWS = 100


class PredictionWriter(BasePredictionWriter):
    """Writes all predictions of a `Trainer.predict` to a CSV file, and draws some of them beside it.

    The table has one row an image, in the order of the data: its index, its true tags, its predicted tags, and the
    probability of each label. The picture has the table's name, with the ending .png.

    Args:
        output: Path of the table; must end in .csv.
        figure: Indices of the images to draw; none for no picture.

    Attributes:
        written: Whether the files have been written.

    Raises:
        InputError: If the ending is not .csv or there are too many images to draw; when predicting, if an index is not
            among the images.
    """

    def __init__(self, output: Path, figure: Sequence[int]) -> None:
        super().__init__(write_interval="epoch")
        if output.suffix != ".csv":
            raise InputError(f"output must end in .csv, got {output}")
        if len(figure) > MAX_FIGURE_ROWS:
            raise InputError(f"figure takes at most {MAX_FIGURE_ROWS} images, got {len(figure)}")
        self.written = False
        self.output = output
        self.picture = output.with_suffix(".png")
        self.figure = list(figure)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks the indices, and makes the folder, before any work is done."""
        if trainer.world_size > 1:
            raise InputError(f"predict runs on one device, not {trainer.world_size}: add --trainer.devices 1")
        assert trainer.predict_dataloaders is not None
        loader = trainer.predict_dataloaders
        self.images = loader.dataset
        size = min(len(self.images), int(sum(trainer.num_predict_batches)) * loader.batch_sampler.batch_size)
        for index in self.figure:
            if not 0 <= index < size:
                raise InputError(f"figure must name images in [0, {size}), got {index}")
        self.output.parent.mkdir(parents=True, exist_ok=True)
        for path in (self.output, self.picture):
            if path.is_dir():
                raise InputError(f"{path} is a folder; name another output")

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[PredictedBatch],
        batch_indices: Sequence[Any],
    ) -> None:
        """Writes the table and the picture; if one fails, neither takes the place of an earlier one."""
        assert isinstance(pl_module, MultiLabelClassifier)
        assert pl_module.labels is not None
        everything = PredictedBatch(*(torch.cat(parts).cpu() for parts in zip(*predictions, strict=True)))
        with replacing(self.output) as table, replacing(self.picture) as picture:
            _write_table(everything, pl_module.labels, table)
            if self.figure:
                self._draw(everything, pl_module, picture)
        self.written = True

    def _draw(self, predictions: PredictedBatch, model: MultiLabelClassifier, path: Path) -> None:
        from multilabel_pl.results.figures import TaggedImage, prediction_figure  # matplotlib takes a while to import

        items = [
            TaggedImage(self.images[i][0], f"image {i}", predictions.targets[i].bool(), predictions.probabilities[i])
            for i in self.figure
        ]
        prediction_figure(items, model.labels or [], model.thresholds.cpu()).savefig(path, dpi=150)


def _write_table(predictions: PredictedBatch, labels: list[str], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["index", "true_tags", "predicted_tags", *labels])
        writer.writerows(_rows(predictions, labels))


def _rows(predictions: PredictedBatch, labels: list[str]) -> Iterator[list[str]]:
    true_tags = name_tags(predictions.targets.bool(), labels)
    predicted_tags = name_tags(predictions.tags, labels)
    for index, row in enumerate(predictions.probabilities.tolist()):
        tags = (TAG_SEPARATOR.join(names[index]) for names in (true_tags, predicted_tags))
        yield [str(index), *tags, *(f"{p:.6f}" for p in row)]
