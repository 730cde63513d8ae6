"""What a program takes and gives, and says of itself: all that is needed to use its file."""

from typing import Any, TypeAlias

from torch import Tensor

from multilabel_pl.task import Task

Metadata: TypeAlias = dict[str, Any]

ONNX = ".onnx"
INPUT, OUTPUTS = "images", ("probabilities", "tags")
RGB = 3


def free_dimensions(task: Task) -> dict[int, str]:
    """Returns the dimensions of a program's input that may have any size, with their names."""
    return {0: "batch"} | ({1: "height", 2: "width"} if task.preprocessing == "resize" else {})


def channels_of(task: Task) -> int:
    """Returns the channels of the images that a task's program takes: colours for grey models, too."""
    channels, *_ = task.image_shape
    return RGB if channels == 1 else channels


def as_input(images: Tensor, task: Task) -> Tensor:
    """Turns images uint8 (B, C, H, W) into what a program takes, (B, H, W, 3)."""
    return images.expand(-1, channels_of(task), -1, -1).permute(0, 2, 3, 1).contiguous()
