import torch

from multilabel_pl.data.summary import summary


def test_a_label_of_two_lines_takes_one() -> None:
    said = summary(["cat\nblack", "\x1b[31m"], {"train": torch.tensor([[1.0, 1.0], [1.0, 0.0]])})
    assert said.splitlines() == [
        "images: 2 (2 train)",
        "tags an image: 1.50 (1 to 2)",
        r"labels: 2: cat black 2, \x1b[31m 1",
        r"most frequent pairs: cat black and \x1b[31m 1",
    ]
