"""Test images, to check an exported model with, or to choose from on the page."""

from torch import Tensor

from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.errors import InputError
from multilabel_pl.messages import note
from multilabel_pl.model.classifier import MultiLabelClassifier


def first_test_images(data: LabelledDataModule, model: MultiLabelClassifier, count: int) -> Tensor | None:
    """Returns the first test images, uint8 (N, C, H, W); None, with a note, if they are missing or don't fit."""
    try:
        data.setup("test")
        model.bind(data.task)
    except InputError as error:
        note(f"continuing without test images: {error}")
        return None
    assert data.test_set is not None
    images, _ = data.test_set.__getitems__(list(range(min(count, len(data.test_set)))))
    return images
