from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.transforms import Bbox

from multilabel_pl.results.figures import save_figure
from multilabel_pl.results.image_sheet import Cell, image_sheet


def image(height: int, width: int) -> torch.Tensor:
    return torch.randint(1, 255, (3, height, width), dtype=torch.uint8)


def boxes(figure: Figure) -> tuple[list[Bbox], list[Bbox]]:
    """Returns the places of the images and of the texts."""
    [axes] = figure.axes
    return [shown.get_window_extent() for shown in axes.images], [text.get_window_extent() for text in axes.texts]


def overlap(one: Bbox, other: Bbox) -> bool:
    shared = Bbox.intersection(one, other)
    return shared is not None and min(shared.width, shared.height) > 1  # pixel: texts are measured in whole ones


def test_texts_of_any_length_overlap_nothing() -> None:
    texts = ["a", "W" * 40, "\n".join("four"), "x" * 14, ""]
    cells = [Cell(image(30, 20 * i + 1), text, below=text[::-1]) for i in range(3) for text in texts]
    figure = image_sheet(cells, columns=4, inches=1.4, title="15 images")
    images, written = boxes(figure)
    every = [*images, *written]
    assert len(images) == 15
    found = [(i, j) for i, one in enumerate(every) for j, other in enumerate(every[:i]) if overlap(one, other)]
    assert found == []
    assert all(figure.bbox.padded(1).containsx(box.x0) and figure.bbox.padded(1).containsx(box.x1) for box in every)


def test_images_keep_their_shape_and_those_of_a_row_begin_on_one_line() -> None:
    shapes = [(10, 10), (10, 40), (40, 10), (8, 8)]
    images, _ = boxes(image_sheet([Cell(image(*shape), "x") for shape in shapes], columns=3, inches=1.0))
    for (height, width), box in zip(shapes, images, strict=True):
        assert np.isclose(box.width / box.height, width / height)
    assert len({round(box.y1) for box in images[:3]}) == 1
    assert images[3].y1 < images[2].y0


def test_groups_stand_apart() -> None:
    images, _ = boxes(image_sheet([Cell(image(8, 8), "x")] * 6, columns=6, inches=1.0, group=3))
    gaps = [round(right.x0 - left.x1) for left, right in pairwise(images)]
    assert gaps == [10, 10, 30, 10, 10]


def test_a_sheet_is_as_large_as_it_needs_to_be(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    save_figure(image_sheet([Cell(image(10, 100), "x")] * 3, columns=3, inches=1.0), path, dpi=100)
    height, width, _ = imread(path).shape
    assert width == 300
    assert height < 60
