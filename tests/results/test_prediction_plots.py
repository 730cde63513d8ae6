import numpy as np
import torch
from matplotlib.colors import to_rgba

from multilabel_pl.results.figures import MODEL, REFERENCE, WRONG
from multilabel_pl.results.prediction_plots import TaggedImage, contact_sheet, heat_map_sheet, prediction_figure


def test_a_figure_shows_tags_truth_and_thresholds() -> None:
    item = TaggedImage(
        image=torch.randint(0, 256, (1, 28, 28), dtype=torch.uint8),
        name="image 3",
        targets=torch.tensor([True, False, False]),
        probabilities=torch.tensor([0.9, 0.3, 0.6]),
    )
    figure = prediction_figure([item, item], ["cat", "dog", "owl"], thresholds=torch.tensor([0.5, 0.5, 0.7]))
    assert len(figure.axes) == 4
    image, bars = figure.axes[:2]
    assert image.get_title() == "image 3: cat"
    assert bars.get_title() == "predicted: cat"
    assert [round(bar.get_height(), 6) for bar in bars.patches] == [0.9, 0.3, 0.6]  # type: ignore[attr-defined]
    colours = {True: MODEL, False: REFERENCE}
    expected = [colours[tagged] for tagged in (True, False, False)]
    assert [bar.get_facecolor() for bar in bars.patches] == [to_rgba(colour) for colour in expected]
    assert [label.get_fontweight() for label in bars.get_xticklabels()] == ["bold", "normal", "normal"]
    [lines] = bars.collections
    assert [segment[0][1] for segment in lines.get_segments()] == [0.5, 0.5, 0.699999988079071]  # type: ignore[attr-defined]


def test_unknown_labels_have_a_question_mark_and_are_never_wrong() -> None:
    labels, image = ["cat", "dog", "owl"], torch.zeros(3, 8, 8, dtype=torch.uint8)
    targets = torch.tensor([[1.0, torch.nan, 0.0], [torch.nan, torch.nan, 1.0]])
    items = [TaggedImage(image, "x", target, torch.tensor([0.9, 0.8, 0.1])) for target in targets]
    picture, bars, *_ = prediction_figure(items, labels, torch.full((3,), 0.5)).axes
    assert picture.get_title() == "x: cat, ?dog"
    names = [(name.get_text(), name.get_fontweight()) for name in bars.get_xticklabels()]
    assert names == [("cat", "bold"), ("?dog", "normal"), ("owl", "normal")]
    [axes] = contact_sheet(items, labels, torch.full((3,), 0.5)).axes
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == [
        ("x\ncat, dog", "black"),
        ("x\ncat, dog", WRONG),
    ]


def test_an_image_without_tags_says_so() -> None:
    item = TaggedImage(torch.zeros(3, 8, 8, dtype=torch.uint8), "x", torch.tensor([False]), torch.tensor([0.1]))
    image, bars = prediction_figure([item], ["cat"], torch.tensor([0.5])).axes
    assert (image.get_title(), bars.get_title()) == ("x: no tag", "predicted: no tag")


def test_of_many_labels_the_true_and_the_likely_are_drawn() -> None:
    labels = [f"label {i}" for i in range(200)]
    probabilities = torch.linspace(0, 0.4, 200)
    true = torch.zeros(200, dtype=torch.bool)
    true[3] = True
    item = TaggedImage(torch.zeros(3, 20, 30, dtype=torch.uint8), "a.jpg", true, probabilities)
    figure = prediction_figure([item], labels, torch.full((200,), 0.5))
    names = [name.get_text() for name in figure.axes[1].get_xticklabels()]
    assert names == ["label 3", *labels[176:]]
    assert len(figure.axes[1].patches) == 25


def test_heat_maps_stand_beside_their_images_with_probabilities() -> None:
    labels = ["cat", "$x_1$", "owl"]
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    heat_maps = torch.randint(256, (7, 2, 3, 8, 8), dtype=torch.uint8)
    items = [TaggedImage(image, f"{i}.jpg", None, torch.tensor([0.9, 0.6, 0.1])) for i in range(7)]
    figure = heat_map_sheet(items, heat_maps, [2, 1], labels, torch.tensor([0.5, 0.5, 0.7]))
    [axes] = figure.axes
    assert len(axes.images) == len(axes.texts) == 7 * 3
    texts = [(text.get_text(), text.get_fontweight()) for text in axes.texts[3:6]]
    assert texts == [("1.jpg\ncat, $x_1$", "normal"), ("owl\n0.10", "normal"), ("$x_1$\n0.60", "bold")]
    for row, shown in ((1, axes.images[4]), (6, axes.images[19])):
        assert np.array_equal(shown.get_array(), heat_maps[row, 0].permute(1, 2, 0).numpy())  # type: ignore[arg-type]
