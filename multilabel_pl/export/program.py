"""A model as a program: colour images in, probabilities and tags out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from multilabel_pl.export.interface import channels_of, free_dimensions
from multilabel_pl.images.pixels import luma
from multilabel_pl.model.classifier import MultiLabelClassifier

MORE = (5, 3)  # rows and columns that an example has more than the model's images, lest a size be taken for fixed


class Program(nn.Module):
    """A model with as much of its preprocessing as a graph can do.

    Args:
        model: In evaluation mode; it has a task.
    """

    def __init__(self, model: MultiLabelClassifier) -> None:
        super().__init__()
        assert model.task is not None
        self.model = model
        self.task = model.task

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Tags images.

        Args:
            images: uint8 (B, H, W, 3), of any size if the task's preprocessing is `resize`, else of the model's.

        Returns:
            Probabilities float32 (B, L), and tags bool (B, L).
        """
        channels, height, width = self.task.image_shape
        pixels = images.permute(0, 3, 1, 2)
        if channels == 1:
            pixels = luma(pixels.float()).round().to(torch.uint8)  # as images.preprocessing does it
        if self.task.preprocessing == "resize":
            pixels = F.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True)
        probabilities, tags = self.model.tag(pixels)
        return probabilities.detach(), tags


def trace(model: MultiLabelClassifier) -> ExportedProgram:
    """Makes a program of a model on the CPU, which is left in evaluation mode."""
    program = Program(model.eval())
    free = free_dimensions(program.task)
    _, *size = program.task.image_shape
    sides = [side + more * (dim in free) for dim, (side, more) in enumerate(zip(size, MORE, strict=True), start=1)]
    # Of a single image, the batch's size would be fixed.
    example = torch.zeros(2, *sides, channels_of(program.task), dtype=torch.uint8)
    dynamic = {dim: Dim(name) for dim, name in free.items()}
    with torch.no_grad():
        traced = torch.export.export(program, (example,), dynamic_shapes=(dynamic,), strict=False)
    for node in traced.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths on this machine, which would be written
    return traced
