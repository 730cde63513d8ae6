"""The figure beside a table of predictions."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from multilabel_pl.data.image_files import ImageFiles
from multilabel_pl.images.decoding import read_image
from multilabel_pl.model.decision import Decision
from multilabel_pl.results.figures import image_name, plain_text, save_figure
from multilabel_pl.results.heat_maps import Explain, draw_heat_maps
from multilabel_pl.results.prediction_plots import TaggedImage, contact_sheet, heat_map_sheet, prediction_figure
from multilabel_pl.results.prediction_tables import PredictedImages
from multilabel_pl.results.text import utf_8

DPI = 150
Predict = Callable[[Tensor], Tensor]  # of images, uint8 (B, C, H, W): their probabilities (B, L)


def draw_predictions(
    images: PredictedImages,
    chosen: Sequence[int],
    predict: Predict,
    decision: Decision,
    path: Path,
    as_sheet: bool,
    explain: Explain | None = None,
    explained: Sequence[int] = (),
) -> bool:
    """Draws images with their predictions, which are made again rather than kept.

    Args:
        images: All images.
        chosen: Indices of those to draw.
        predict: The model.
        decision: The labels and their thresholds.
        path: Where to draw.
        as_sheet: Whether to draw a sheet of images and tags, rather than bars of their probabilities.
        explain: What makes heat maps for a sheet, if they are asked for.
        explained: Indices of their labels.

    Returns:
        Whether there is anything to draw: files that can't be read are left out.
    """
    seen, shown = _readable(images, list(chosen)) if chosen else (torch.empty(0), [])
    if not shown:
        return False
    items = [TaggedImage(*image, row) for image, row in zip(shown, predict(seen), strict=True)]
    labels, thresholds = decision.labels, decision.thresholds.cpu()
    with plain_text():
        if explain is not None:
            maps = [draw_heat_maps(explain, seen, torch.full((len(seen),), label)) for label in explained]
            figure = heat_map_sheet(items, torch.stack(maps, dim=1), explained, labels, thresholds)
        else:
            figure = (contact_sheet if as_sheet else prediction_figure)(items, labels, thresholds)
        save_figure(figure, path, DPI)
    return True


def _readable(images: PredictedImages, chosen: list[int]) -> tuple[Tensor, list[tuple[Tensor, str, Tensor | None]]]:
    """Returns images as the model sees them (B, C, H, W), and of each what is shown: pixels, name, targets if known."""
    if isinstance(images, ImageFiles):
        batch, problems = images.__getitems__(chosen)
        rows = [row for row, problem in enumerate(problems) if problem is None]
        paths = [images.paths[chosen[row]] for row in rows]
        return batch[rows], [(read_image(path, images.task.background), utf_8(path.name), None) for path in paths]
    batch, targets = images.__getitems__(chosen)
    names = [image_name(images, index) for index in chosen]
    return batch, list(zip(batch, names, targets, strict=True))
