from typing import Any

import pytest

from multilabel_pl import Task
from multilabel_pl.errors import InputError

TASK = Task(("cat", "dog"), (3, 20, 30))


def test_a_task_is_made_of_plain_text_and_tuples() -> None:
    task = Task([1, "dog"], [3, 20, 30], "mnist", "#ff0000")  # type: ignore[list-item, arg-type] # as a file has them
    assert task == Task(("1", "dog"), (3, 20, 30), "mnist", "#ff0000")
    assert hash(task) == hash(Task(("1", "dog"), (3, 20, 30), "mnist", "#ff0000"))
    assert (TASK.preprocessing, TASK.background) == ("resize", "white")
    assert TASK.shape_text == "3x20x30"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["cat", "dog", "cat"]}, "labels must differ, got cat twice"),
        ({"labels": [1, "1"]}, "labels must differ, got 1 twice"),
        ({"image_shape": [28, 28]}, "image_shape must be channels, height and width, got 28x28"),
        ({"image_shape": (0, 28, 28)}, "image_shape must be channels, height and width, got 0x28x28"),
        ({"image_shape": (1, 28.0, 28)}, r"image_shape must be channels, height and width, got 1x28\.0x28"),
        ({"preprocessing": "crop"}, "preprocessing must be one of resize, mnist, got crop"),
        ({"background": "nothing"}, "background must be a colour such as white or #ffffff, got nothing"),
    ],
    ids=str,
)
def test_values_that_are_no_task_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Task(**{"labels": ["cat"], "image_shape": (1, 28, 28), **options})


def test_a_model_is_used_on_data_of_its_own_labels_and_shape_alone() -> None:
    TASK.check_matches(Task(["cat", "dog"], (3, 20, 30), "mnist", "black"))  # how images are prepared does not matter
    with pytest.raises(InputError, match=r"^the model's labels are cat, dog, but the data's are dog, cat$"):
        TASK.check_matches(Task(("dog", "cat"), (3, 20, 30)))
    with pytest.raises(InputError, match=r"^the model's images are 3x20x30, but the data's are 1x20x30$"):
        TASK.check_matches(Task(("cat", "dog"), (1, 20, 30)))


def test_a_task_is_recorded_as_plain_values_and_restored() -> None:
    task = Task(("cat", "dog"), (1, 8, 8), "mnist", "black")
    values = task.to_dict()
    assert values == {
        "labels": ["cat", "dog"],
        "image_shape": [1, 8, 8],
        "preprocessing": "mnist",
        "background": "black",
    }
    assert {type(value) for value in values.values()} == {list, str}
    assert Task(**values) == task
