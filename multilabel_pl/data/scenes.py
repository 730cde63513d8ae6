"""Scenes: several MNIST digits in one image, so that an image carries any number of tags."""

from typing import Any

import torch
from torch import Tensor

from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.data.datasets import Batch, LabelledDataset, LabelledImages
from multilabel_pl.data.mnist import ARCHIVES, LABELS, read_digits
from multilabel_pl.data.split import split_indices
from multilabel_pl.errors import InputError, check_at_least

VAL_DIGITS = 5000  # training digits of which the validation scenes are made, and they alone
GAP = 1  # pixels between two digits, at least
TRIES = 50  # places tried for a digit before its scene starts over
ATTEMPTS = 50  # at a scene, before the canvas is called too small


class SceneDataModule(LabelledDataModule):
    """Scenes: up to `max_digits` MNIST digits at random places, tagged as MNIST is: each digit, and `≥5` if any is.

    The digits of training, validation and test scenes are different ones; those of test scenes are MNIST's test digits.

    Args:
        max_digits: A scene has 0 to so many digits, each number being as likely.
        canvas_size: Height and width of a scene in pixels.
        train_size: Number of training scenes.
        val_size: Number of validation scenes; 0 validates on none.
        test_size: Number of test scenes.
        scene_seed: Seed of the scenes, and of nothing else.
        **kwargs: Options of every data module.

    Raises:
        InputError: If a number is out of range or (in `setup`) if so many digits don't fit.
    """

    labels = LABELS

    def __init__(
        self,
        max_digits: int = 4,
        canvas_size: int = 64,
        train_size: int = 60_000,
        val_size: int = 5000,
        test_size: int = 10_000,
        scene_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(val_size, **kwargs)
        check_at_least(0, scene_seed=scene_seed)
        check_at_least(1, max_digits=max_digits, train_size=train_size, test_size=test_size)
        check_at_least(28, canvas_size=canvas_size)
        self.max_digits = max_digits
        self.canvas_size = canvas_size
        self.train_size = train_size
        self.test_size = test_size
        self.scene_seed = scene_seed
        self.image_shape = (1, canvas_size, canvas_size)

    def setup_training(self) -> None:
        """Makes the training and the validation scenes."""
        digits = read_digits(ARCHIVES, "train")
        train, val = split_indices(len(digits), VAL_DIGITS, seed=0)
        self.train_set = self._scenes(digits.subset(train), self.train_size, split=0)
        self.val_set = self._scenes(digits.subset(val), int(self.val_size), split=1) if self.has_validation else None

    def setup_test(self) -> None:
        """Makes the test scenes."""
        self.test_set = self._scenes(read_digits(ARCHIVES, "test"), self.test_size, split=2)

    def _scenes(self, digits: LabelledImages, size: int, split: int) -> "Scenes":
        generator = torch.Generator().manual_seed(3 * self.scene_seed + split)  # a seed of its own for each split
        return Scenes(digits, size, self.max_digits, self.canvas_size, generator)


class Scenes(LabelledDataset):
    """Scenes whose digits and places are drawn at once, and which are painted a batch at a time.

    Args:
        digits: Of which the scenes are made, uint8 (N, 1, H, W).
        size: Number of scenes, S.
        max_digits: Digits in a scene, at most.
        canvas_size: Height and width of a scene in pixels.
        generator: Decides everything.

    Raises:
        InputError: If so many digits don't fit into a scene.
    """

    def __init__(
        self, digits: LabelledImages, size: int, max_digits: int, canvas_size: int, generator: torch.Generator
    ) -> None:
        self.digits = digits
        self.canvas_size = canvas_size
        self.counts = torch.randint(max_digits + 1, (size,), generator=generator)  # (S,)
        self.chosen = torch.randint(len(digits), (size, max_digits), generator=generator)  # (S, D), of digits
        self.present = torch.arange(max_digits) < self.counts[:, None]  # (S, D)
        self.targets = (digits.targets[self.chosen] * self.present[:, :, None]).amax(dim=1)  # (S, L)
        corners, sizes = _ink_boxes(digits.images)
        places = _place(sizes[self.chosen], self.counts, canvas_size, generator)
        self.corners = places - corners[self.chosen]  # (S, D, 2): of the digits' frames, which may stick out

    def __len__(self) -> int:
        return len(self.counts)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Paints a batch of scenes."""
        images = self.digits.images[self.chosen[indices], 0] * self.present[indices, :, None, None]  # (B, D, H, W)
        return _paint(images, self.corners[indices], self.canvas_size), self.targets[indices]


def _paint(images: Tensor, corners: Tensor, canvas_size: int) -> Tensor:
    """Paints frames (B, D, H, W) with their corners (B, D, 2) onto canvases (B, 1, canvas_size, canvas_size).

    All pixels are added in one operation. Where frames overlap, all but one are black, since their ink does not touch.
    """
    batch, _, height, width = images.shape
    rows, columns = canvas_size + 2 * height, canvas_size + 2 * width  # with margins, where frames may stick out
    canvas = torch.zeros(batch * rows * columns, dtype=images.dtype)
    top, left = corners[..., 0] + height, corners[..., 1] + width  # (B, D)
    starts = (torch.arange(batch)[:, None] * rows + top) * columns + left  # (B, D), of frames in the flat canvas
    frame = torch.arange(height)[:, None] * columns + torch.arange(width)  # (H, W), from a frame's start
    canvas.index_add_(0, (starts[..., None, None] + frame).flatten(), images.flatten())
    return canvas.view(batch, 1, rows, columns)[:, :, height:-height, width:-width].contiguous()


def _ink_boxes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the top left corners (N, 2) and the heights and widths (N, 2) of the ink in images (N, 1, H, W)."""
    ink = images[:, 0] > 0
    firsts, lengths = [], []
    for dim in (2, 1):
        marked = ink.any(dim).int()  # (N, H), then (N, W)
        first = marked.argmax(dim=1)  # the first of equals
        firsts.append(first)
        lengths.append(marked.shape[1] - marked.flip(1).argmax(dim=1) - first)
    return torch.stack(firsts, dim=1), torch.stack(lengths, dim=1)


def _place(sizes: Tensor, counts: Tensor, canvas_size: int, generator: torch.Generator) -> Tensor:
    """Finds places where boxes don't touch, one box after the other, each at random among the free places.

    Args:
        sizes: Heights and widths (S, D, 2).
        counts: Boxes of each scene (S,); those beyond are not placed.
        canvas_size: Height and width that the boxes are to stay in.
        generator: Decides the places.

    Returns:
        Top left corners (S, D, 2).
    """
    places = torch.zeros_like(sizes)
    pending = torch.arange(len(sizes))  # scenes that are not done
    for _ in range(ATTEMPTS):
        stuck = torch.zeros(len(pending), dtype=torch.bool)
        for i in range(sizes.shape[1]):
            waiting = pending[(counts[pending] > i) & ~stuck]
            for _ in range(TRIES):
                room = canvas_size - sizes[waiting, i] + 1  # (W, 2)
                places[waiting, i] = (torch.rand(room.shape, generator=generator) * room).long()
                waiting = waiting[_touches(places[waiting], sizes[waiting], i)]
                if len(waiting) == 0:
                    break
            stuck |= torch.isin(pending, waiting)
        pending = pending[stuck]
        if len(pending) == 0:
            return places
    raise InputError(f"{sizes.shape[1]} digits don't fit: lower --data.max_digits, or raise --data.canvas_size")


def _touches(places: Tensor, sizes: Tensor, i: int) -> Tensor:
    """Tells (W,) whether box i touches one of the boxes before it, of places and sizes (W, D, 2)."""
    this, size = places[:, i, None], sizes[:, i, None]  # (W, 1, 2)
    before = (places[:, :i] < this + size + GAP) & (this < places[:, :i] + sizes[:, :i] + GAP)  # (W, i, 2)
    return before.all(dim=2).any(dim=1)
