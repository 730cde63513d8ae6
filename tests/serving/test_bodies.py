"""The images in a body, as decoders find them."""

import json
import tracemalloc
from typing import Any

import pytest

from multilabel_pl.serving.bodies import JSON, Body, load_images
from multilabel_pl.task import Task

MEGABYTE = 2**20
NUMBERS = "an array must have whole numbers from 0 to 255, and rows of one length"


def problem_of(image: list[Any]) -> str | None:
    """Returns the problem of an image that is sent as nested lists."""
    body = Body(json.dumps({"images": [image]}).encode(), JSON)
    [loaded] = load_images(body, Task(("a",), (1, 28, 28)), max_pixels=1000)
    return loaded.problem


def test_texts_among_numbers_take_no_more_memory_than_they_are_long() -> None:
    row = ["x" * 6000, *[""] * 1500]
    tracemalloc.start()
    assert problem_of([row]) == NUMBERS
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * MEGABYTE  # an array of texts takes 36 MB


@pytest.mark.parametrize(
    "image",
    [
        [["0"]],
        [[0, "0"]],
        [[True, False]],
        [[0, None]],
        [[0, 1.0]],
        [[-1]],
        [[256]],
        [[2**70]],
        [[0], 0],
        [[[0]], [[0, 0]]],
        [[], []],
        [{"a": 0}],
    ],
    ids=str,
)
def test_what_is_not_rows_of_pixels_is_refused(image: list[Any]) -> None:
    assert problem_of(image) == NUMBERS


@pytest.mark.parametrize("depth", [40, 200])
def test_lists_may_be_nested_deeply(depth: int) -> None:
    image: list[Any] = [0]
    for _ in range(depth):
        image = [image]
    assert problem_of(image) is not None
