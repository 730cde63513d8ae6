"""The figure beside a table of predictions."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from multilabel_pl.data.image_files import ImageFiles
from multilabel_pl.images.decoding import read_image
from multilabel_pl.model.decision import Decision
from multilabel_pl.results.figures import image_name, plain_text
from multilabel_pl.results.prediction_plots import TaggedImage, contact_sheet, prediction_figure
from multilabel_pl.results.prediction_tables import PredictedImages
from multilabel_pl.results.text import utf_8

Predict = Callable[[Tensor], Tensor]  # of images, uint8 (B, C, H, W): their probabilities (B, L)


def draw_predictions(
    images: PredictedImages, chosen: Sequence[int], predict: Predict, decision: Decision, path: Path, as_sheet: bool
) -> bool:
    """Draws images with their predictions, which are made again rather than kept.

    Args:
        images: All images.
        chosen: Indices of those to draw.
        predict: The model.
        decision: The labels and their thresholds.
        path: Where to draw.
        as_sheet: Whether to draw a sheet of images and tags, rather than bars of their probabilities.

    Returns:
        Whether there is anything to draw: files that can't be read are left out.
    """
    items = _tagged(images, list(chosen), predict) if chosen else []
    if items:
        draw = contact_sheet if as_sheet else prediction_figure
        with plain_text():
            draw(items, decision.labels, decision.thresholds.cpu()).savefig(path, dpi=150)
    return bool(items)


def _tagged(images: PredictedImages, chosen: list[int], predict: Predict) -> list[TaggedImage]:
    if isinstance(images, ImageFiles):
        batch, problems = images.__getitems__(chosen)
        files = zip([images.paths[index] for index in chosen], predict(batch), problems, strict=True)
        readable = [(path, row) for path, row, problem in files if problem is None]
        background = images.task.background
        return [TaggedImage(read_image(path, background), utf_8(path.name), None, row) for path, row in readable]
    batch, targets = images.__getitems__(chosen)
    names = [image_name(images, index) for index in chosen]
    return [TaggedImage(*item) for item in zip(batch, names, targets, predict(batch), strict=True)]
