"""The images that are tagged wrongly, as a table."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.prediction import name_tags
from multilabel_pl.results.image_tables import Row, write_image_table
from multilabel_pl.results.prediction_tables import TAG_SEPARATOR
from multilabel_pl.results.true_tags import name_true_tags


def write_mistakes(evaluation: Evaluation, images: LabelledDataset | None, path: Path) -> None:
    """Writes all wrongly tagged images as a CSV table, those with the highest loss first.

    The columns: path or index, true tags (`?cat` where unknown) and predicted ones, those that are missed and wrong
    with their probabilities, and the sum of the known labels' losses.
    """
    header = ["true_tags", "predicted_tags", "missed", "wrong", "loss"]
    write_image_table(images, header, _rows(evaluation), path)


def _rows(evaluation: Evaluation) -> Iterator[Row]:
    numbers, losses = evaluation.worst_first
    true = name_true_tags(evaluation.targets[numbers], evaluation.labels)
    predicted = name_tags(evaluation.tags[numbers], evaluation.labels)
    named = [map(TAG_SEPARATOR.join, names) for names in (true, predicted)]
    parts = evaluation.missed[numbers], evaluation.mistaken[numbers]
    wrong = [_with_probabilities(evaluation, numbers, part) for part in parts]
    formatted = (f"{loss:.4f}" for loss in losses.tolist())
    yield from zip(numbers.tolist(), zip(*named, *wrong, formatted, strict=True), strict=True)


def _with_probabilities(evaluation: Evaluation, numbers: Tensor, chosen: Tensor) -> Iterator[str]:
    """Yields the chosen labels of images, bool (M, L), each with its probability."""
    values = iter(evaluation.probabilities[numbers][chosen].tolist())  # in the order of the names
    for names in name_tags(chosen, evaluation.labels):
        yield TAG_SEPARATOR.join(f"{name} ({next(values):.4f})" for name in names)
