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


def test_unknown_labels_are_no_tags_and_are_counted() -> None:
    train = torch.tensor([[1.0, torch.nan, 1.0], [1.0, torch.nan, torch.nan]])
    said = summary(["cat", "dog", "owl"], {"train": train, "val": torch.tensor([[0.0, 1.0, 0.0]])})
    assert said.splitlines() == [
        "images: 3 (2 train, 1 val)",
        "tags an image: 1.33 (1 to 2)",
        "labels: 3: cat 2, dog 1, owl 1",
        "most frequent pairs: cat and owl 1",
        "known: 6 of 9 decisions; unknown: dog 2, owl 1, cat 0",
    ]
