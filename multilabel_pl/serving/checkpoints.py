"""The model of a checkpoint, to serve."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from multilabel_pl.checkpoint import read_checkpoint
from multilabel_pl.export.metadata import describe
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.loading import build_model, load_weights
from multilabel_pl.serving.served_model import ServedModel


def load_checkpoint(path: Path, threads: int | None) -> ServedModel:
    """Loads a checkpoint to serve.

    Args:
        path: The checkpoint.
        threads: Threads that it computes with; one for each core if not given.

    Raises:
        InputError: If it is missing, damaged, or not this package's.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    content = read_checkpoint(path)
    model = build_model(MultiLabelClassifier, content, path)
    load_weights(content, model, path)
    model.eval()
    assert model.task is not None

    @torch.inference_mode()
    def tag(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        probabilities, tags = model.tag(torch.from_numpy(images))
        return probabilities.numpy(), tags.numpy()

    return ServedModel(model.task, describe(model, content, path), tag)
