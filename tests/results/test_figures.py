import shlex
import warnings
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from multilabel_pl.cli.main import main
from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.messages import shortened
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.evaluation_plots import write_figures
from multilabel_pl.results.text import listed
from tests.conftest import BRIEF, QUIET
from tests.data.tagged_images import write_images, write_table

NAMES = [
    "$5_$10",
    "größer als 5 cm (ungefähr)",
    "😀",
    "a_b^{",
    "100 %",
    "שלום",
    "标签",
    "\\frac{",
    "a " * 50,
    "<b>",
    "|",
]


def test_names_are_cut_in_the_middle() -> None:
    assert shortened("short", 5) == "short"
    assert shortened("a long name of a file.png", 15) == "a long nam….png"
    assert all(len(shortened("x" * 99, length)) == length for length in range(3, 30))


def test_lists_are_cut_to_their_place() -> None:
    assert listed([], 10, 1) == "nothing"
    assert listed(["cat", "dog"], 10, 1) == "cat, dog"
    assert listed(["cat", "dog", "owl"], 10, 2) == "cat, dog,\nowl"
    assert listed([f"label {i}" for i in range(223)], 20, 2) == "label 0, label 1,\nlabel 2 +220 more"
    assert listed(["a name that is long", "another"], 8, 1) == "2 tags"


@pytest.mark.parametrize("count", [2, *(pytest.param(count, marks=pytest.mark.slow) for count in (40, 223))])
def test_labels_of_any_kind_and_number_are_drawn(count: int, tmp_path: Path) -> None:
    labels = [*NAMES, *(f"label number {i}" for i in range(count))][:count]
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(30, count, generator=generator) < 0.2).float()
    logits = torch.randn(30, count, generator=generator) + targets
    images = LabelledImages(
        torch.zeros(30, 3, 8, 8, dtype=torch.uint8), targets, [Path(f"{'x' * 99}{i}") for i in range(30)]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = write_figures(
            Evaluation(Decision(labels, 0.5, False), logits, targets, torch.tensor(0.0)), images, tmp_path
        )
    drawn = ["precision_recall", "f1", "confusion", "cooccurrence", "reliability", "mistakes", "images"]
    assert list(names) == [f"{name}.png" for name in drawn]
    assert ("the 24 of 223 labels that most images carry: " in names["precision_recall.png"]) == (count == 223)
    assert all(imread(tmp_path / name).std() > 0.05 for name in names)


@pytest.mark.slow
def test_labels_that_look_like_formulas_are_tested_and_predicted(workplace: Path) -> None:
    rows = [[path, NAMES[i % 10]] for i, (path, _) in enumerate(write_images(workplace, 40))]
    write_table(workplace / "t.csv", ["path", "tags"], rows)
    data = ["--data", "TableDataModule", *shlex.split("--data.table t.csv --data.image_size 16 --data.num_workers 0")]
    main(["fit", *QUIET, *BRIEF, *data])
    main(["test", *QUIET])
    for figure in ("true", "0"):
        main(["predict", *QUIET, "--figure", figure])
        assert Path("runs/version_0/predict/predictions.png").is_file()
    assert Path("runs/version_0/test/mistakes.png").is_file()
