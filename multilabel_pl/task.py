"""The task of a model: which labels it gives to which images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from PIL import ImageColor

from multilabel_pl.errors import InputError, check_choice

Preprocessing = Literal["resize", "mnist"]

WHITE = "white"


@dataclass(frozen=True)
class Task:
    """Labels, and the form of the images that carry them.

    A data module offers a task, a model is built for one, and a checkpoint records it.

    Attributes:
        labels: Names of the labels, in the order of the target columns.
        image_shape: Channels, height and width of every image.
        preprocessing: How other images are brought to this shape: `resize` takes the whole image, stretched or shrunk;
            `mnist` finds the digit on a page (see `images.mnist_style`).
        background: Colour laid behind transparent pixels, by name or as `#rrggbb`.

    Raises:
        InputError: If a label occurs twice or can't be written, the shape is not three positive numbers, or the
            preprocessing or the colour is unknown.
    """

    labels: Sequence[str]
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing = "resize"
    background: str = WHITE

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(map(str, self.labels)))
        object.__setattr__(self, "image_shape", tuple(self.image_shape))
        if repeated := [label for label, count in Counter(self.labels).items() if count > 1]:
            raise InputError(f"labels must differ, got {repeated[0]} twice")
        if not all(map(_is_writable, self.labels)):
            raise InputError("labels must be text in Unicode, without halves of characters")
        if len(self.image_shape) != 3 or not all(isinstance(n, int) and n > 0 for n in self.image_shape):
            raise InputError(f"image_shape must be channels, height and width, got {self.shape_text}")
        check_choice("preprocessing", self.preprocessing, get_args(Preprocessing))
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            raise InputError(f"background must be a colour such as white or #ffffff, got {self.background}") from None

    @property
    def shape_text(self) -> str:
        """The image shape as users read it, such as `1x28x28`."""
        return "x".join(map(str, self.image_shape))

    def check_matches(self, data: "Task") -> None:
        """Checks that a model for this task can be used on data of another one.

        Raises:
            InputError: If the labels or the image shapes differ.
        """
        if self.labels != data.labels:
            own, other = (", ".join(task.labels) for task in (self, data))
            raise InputError(f"the model's labels are {own}, but the data's are {other}")
        if self.image_shape != data.image_shape:
            raise InputError(f"the model's images are {self.shape_text}, but the data's are {data.shape_text}")

    def to_dict(self) -> dict[str, Any]:
        """Returns the task as plain values, for a checkpoint; `Task(**values)` restores it."""
        return {**asdict(self), "labels": list(self.labels), "image_shape": list(self.image_shape)}


def _is_writable(label: str) -> bool:
    try:
        label.encode()
    except UnicodeEncodeError:
        return False
    return True
