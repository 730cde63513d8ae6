import csv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.evaluation_plots import (
    draw_evaluation,
    mistakes_figure,
    reliability_figure,
    write_figures,
)
from multilabel_pl.results.figures import BEFORE
from multilabel_pl.results.label_plots import (
    MAX_PANELS,
    confusion_figure,
    cooccurrence_figure,
    f1_figure,
    precision_recall_figure,
)
from multilabel_pl.results.mistakes import write_mistakes
from multilabel_pl.results.training_plots import training_figure

LABELS = ["cat", "dog", "owl"]
ALWAYS = ["precision_recall", "f1", "confusion", "cooccurrence", "reliability"]
TARGETS = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
PARTLY = torch.tensor([[1.0, 0, 0], [1, torch.nan, 0], [torch.nan, 1, torch.nan], [0, 0, torch.nan]])
LOGITS = torch.tensor([[2.0, -2, -1], [3, -3, -1], [-1, 1, -1], [1, -2, -1]])  # dog of 1 and cat of 3 are wrong
IMAGES = LabelledImages(torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8), TARGETS)


def evaluation(
    logits: torch.Tensor = LOGITS, targets: torch.Tensor = TARGETS, labels: list[str] = LABELS, calibrate: bool = False
) -> Evaluation:
    return Evaluation(Decision(labels, 0.5, calibrate), logits, targets, loss=torch.tensor(0.5))


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.axison]


def texts_of(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_only_figures_with_something_to_show_are_drawn(tmp_path: Path) -> None:
    names = [name for name, *_ in draw_evaluation(evaluation(), IMAGES, tmp_path)]
    assert names == [*ALWAYS, "mistakes", "images"]
    assert [name for name, *_ in draw_evaluation(evaluation(), None, tmp_path)] == ALWAYS
    (tmp_path / "metrics.csv").write_text("epoch,step,train_loss,val_loss\n0,10,,0.5\n")
    right = evaluation(logits=TARGETS * 2 - 1)
    assert [name for name, *_ in draw_evaluation(right, IMAGES, tmp_path)] == [*ALWAYS, "images", "training"]
    some = evaluation(targets=PARTLY)
    assert [name for name, *_ in draw_evaluation(some, IMAGES, tmp_path)] == [*ALWAYS, "mistakes", "images", "training"]
    one = evaluation(LOGITS[:, :1], TARGETS[:, :1], ["cat"])
    assert "cooccurrence" not in [name for name, *_ in draw_evaluation(one, None, tmp_path)]


def test_a_curve_has_the_threshold_of_its_label_on_it() -> None:
    figure = precision_recall_figure(evaluation())
    assert titles(figure) == ["cat\nthreshold 0.50", "dog\nthreshold 0.50", "owl\nthreshold 0.50"]
    points = [axes.lines[1].get_xydata().tolist() for axes in figure.axes[:2]]  # type: ignore[union-attr]
    assert points == [[[1.0, 0.6666666865348816]], [[0.5, 1.0]]]  # recall and precision
    owl = figure.axes[2]
    assert (list(owl.lines), texts_of(owl)) == ([], ["on no image"])


def test_a_confusion_matrix_counts_the_images_of_a_label() -> None:
    figure = confusion_figure(evaluation())
    counts = [texts_of(axes) for axes in figure.axes[:3]]
    assert counts == [["1", "1", "0", "2"], ["2", "0", "1", "1"], ["4", "0", "0", "0"]]
    assert [text.get_color() for text in figure.axes[2].texts] == ["white", "black", "black", "black"]


def test_of_many_labels_the_most_frequent_have_a_panel() -> None:
    labels = [f"label {i}" for i in range(30)]
    targets = (torch.arange(30) >= torch.arange(40)[:, None]).float()  # label i has i + 1 images
    figure = confusion_figure(evaluation(targets * 2 - 1, targets, labels))
    assert titles(figure) == [f"{label}\nthreshold 0.50" for label in labels[-MAX_PANELS:]]
    assert figure.get_suptitle() == "the 24 of 30 labels that most images carry"


def test_a_reliability_diagram_shows_the_calibration_before_and_after() -> None:
    upper, lower = reliability_figure(evaluation()).axes
    assert "(" not in upper.get_title()
    assert upper.get_legend_handles_labels()[1] == ["the model"]
    heights = [bar.get_height() for bar in lower.patches]  # type: ignore[attr-defined]
    assert sum(heights) == TARGETS.numel()
    assert texts_of(lower) == [f"{height:.0f}" for height in heights]
    assert "$" not in "".join(text.get_text() for text in lower.get_yticklabels())
    upper, _ = reliability_figure(evaluation(calibrate=True)).axes
    assert upper.get_legend_handles_labels()[1] == ["before calibration", "the model"]
    assert to_rgba(upper.lines[1].get_color()) == to_rgba(BEFORE)
    assert upper.get_title().endswith(" before)")


def test_mistakes_are_the_wrong_images_with_the_highest_loss_first() -> None:
    figure = mistakes_figure(evaluation(), IMAGES)
    [axes] = figure.axes
    above, below = ["image 1\ncat, dog", "image 3\nnothing"], ["missed dog\u00a0(0.05)", "wrong cat\u00a0(0.73)"]
    assert texts_of(axes) == [*above, *below]
    for shown, index in zip(axes.images, (1, 3), strict=True):
        np.testing.assert_array_equal(np.asarray(shown.get_array()), IMAGES.images[index].permute(1, 2, 0))
    assert figure.get_suptitle().startswith("2 of 4 images have a wrong tag")


def test_only_known_decisions_are_mistakes(tmp_path: Path) -> None:
    logits = LOGITS.clone()
    logits[2] = torch.tensor([1.0, -1, 1])  # cat and owl are unknown there, and dog is missed
    some = evaluation(logits, PARTLY)
    assert some.wrong.tolist() == [False, False, True, True]
    [axes] = mistakes_figure(some, IMAGES).axes
    above, below = ["image 3\n?owl", "image 2\ndog, ?cat, ?owl"], ["wrong cat\u00a0(0.73)", "missed dog\u00a0(0.27)"]
    assert texts_of(axes) == [*above, *below]
    write_mistakes(some, IMAGES, tmp_path / "m.csv")
    with (tmp_path / "m.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["index"], first["true_tags"], first["wrong"], first["loss"]) == (
        "3",
        "?owl",
        "cat (0.7311)",
        "1.4402",
    )
    assert second == {
        "index": "2",
        "true_tags": "dog|?cat|?owl",
        "predicted_tags": "cat|owl",
        "missed": "dog (0.2689)",
        "wrong": "",
        "loss": "1.3133",
    }


def test_figures_count_known_decisions_alone() -> None:
    some = evaluation(targets=PARTLY)
    counts = [texts_of(axes) for axes in confusion_figure(some).axes[:3]]
    assert counts == [["0", "1", "0", "2"], ["2", "0", "0", "1"], ["2", "0", "0", "0"]]
    cat, dog, *_ = (axes.lines[1].get_xydata().tolist()[0] for axes in precision_recall_figure(some).axes[:2])  # type: ignore[union-attr]
    assert cat == [1.0, pytest.approx(2 / 3)]
    assert dog == [1.0, 1.0]
    _, lower = reliability_figure(some).axes
    assert sum(bar.get_height() for bar in lower.patches) == 8  # type: ignore[attr-defined]
    true, predicted, *_ = cooccurrence_figure(some).axes
    assert np.asarray(true.images[0].get_array()).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert texts_of(true) == ["100", "0", "0", "–", "100", "–", "–", "–", "–"]
    assert texts_of(predicted) == ["100", "0", "0", "–", "100", "–", "–", "–", "–"]


def test_a_label_of_which_nothing_is_known_has_no_curve(tmp_path: Path) -> None:
    targets = TARGETS.clone()
    targets[:, 1] = torch.nan
    for draw in (precision_recall_figure, f1_figure, confusion_figure):
        dog = draw(evaluation(targets=targets)).axes[1]
        assert (list(dog.lines), texts_of(dog)) == ([], ["known of no image"])
    nothing = evaluation(targets=torch.full_like(TARGETS, torch.nan))
    captions = write_figures(nothing, IMAGES, tmp_path)
    assert list(captions) == [f"{name}.png" for name in (*ALWAYS[:4], "images")]


def test_precision_recall_axes_zoom_in_where_all_is_near_1() -> None:
    targets = (torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    logits = 20 * targets - 10
    logits[:5] *= -1  # a few mistakes
    figure = precision_recall_figure(evaluation(logits, targets))
    assert figure.axes[0].get_xlim()[0] > 0.9
    assert figure.get_supxlabel() == "recall, from 0.95"
    assert precision_recall_figure(evaluation()).get_supxlabel() == "recall"


def test_f1_is_drawn_by_threshold_with_the_chosen_one() -> None:
    cat, _, owl, *_ = f1_figure(evaluation()).axes
    curve = dict(cat.lines[1].get_xydata().round(3).tolist())  # type: ignore[union-attr]
    assert curve[0.0] == pytest.approx(2 / 3, abs=1e-3)  # all tagged: 2 of 4
    assert curve[0.8] == 1
    assert cat.lines[2].get_xydata().tolist() == [[0.5, pytest.approx(0.8)]]  # type: ignore[union-attr]
    assert texts_of(owl) == ["on no image"]


def test_cooccurrence_is_of_true_tags_with_true_and_with_predicted_ones() -> None:
    true, predicted, *_ = cooccurrence_figure(evaluation()).axes
    assert np.asarray(true.images[0].get_array()).tolist() == [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]]
    assert np.asarray(predicted.images[0].get_array()).tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 0]]


def test_all_mistakes_are_listed(tmp_path: Path) -> None:
    write_mistakes(evaluation(), IMAGES, tmp_path / "m.csv")
    with (tmp_path / "m.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "index": "1",
        "true_tags": "cat|dog",
        "predicted_tags": "cat",
        "missed": "dog (0.0474)",
        "wrong": "",
        "loss": "3.4104",
    }
    assert (second["index"], second["missed"], second["wrong"]) == ("3", "", "cat (0.7311)")
    write_mistakes(evaluation(logits=TARGETS * 2 - 1), None, tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text() == "index,true_tags,predicted_tags,missed,wrong,loss\n"


def test_training_curves_skip_what_was_not_logged(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train_loss,val_loss,val_exact_match\n0,5,0.7,,\n0,9,,0.5,0.25\n1,19,,0.4,0.5\n")
    loss, validation = training_figure(path, epoch=2).axes
    lines = [*loss.lines, *validation.lines]
    curves = {str(line.get_label()): line.get_xydata().tolist() for line in lines}  # type: ignore[union-attr]
    assert curves == {
        "train_loss": [[0.6, 0.7]],
        "val_loss": [[1, 0.5], [2, 0.4]],
        "val_exact_match": [[1, 0.25], [2, 0.5]],
        "epoch 2, evaluated here": [[2, 0], [2, 1]],
    }
    path.write_text("epoch,step,train_loss,val_loss\n0,9,,0.5\n1,14,0.3,\n")  # ended within its second epoch
    loss, _ = training_figure(path).axes
    assert [line.get_xydata().tolist() for line in loss.lines] == [[[1.5, 0.3]], [[1, 0.5]]]  # type: ignore[union-attr]
    path.write_text("epoch,step,train_loss\n0,5,0.7\n")
    loss, validation = training_figure(path).axes
    assert (len(loss.lines), len(validation.lines)) == (1, 0)


@pytest.mark.parametrize("draw", [precision_recall_figure, f1_figure, confusion_figure])
@pytest.mark.parametrize("count", [1, 3, 6])
def test_panels_share_their_axes_and_the_outer_ones_have_numbers(
    draw: Callable[[Evaluation], Figure], count: int
) -> None:
    targets = torch.eye(8)[:, :count]
    panels = draw(evaluation(targets * 2 - 1, targets, [f"label {i}" for i in range(count)])).axes
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in panels}) == 1
    below = [any(text.get_visible() for text in axes.get_xticklabels()) for axes in panels]
    left = [any(text.get_visible() for text in axes.get_yticklabels()) for axes in panels]
    assert below == [i + 4 >= count for i in range(count)]
    assert left == [i % 4 == 0 for i in range(count)]


def test_names_of_panels_overlap_nothing() -> None:
    labels = ["W" * 40, "x" * 40, "cat"]
    titles = [axes.title.get_window_extent() for axes in f1_figure(evaluation(labels=labels)).axes]
    assert all(left.x1 <= right.x0 + 1 for left, right in pairwise(titles))
