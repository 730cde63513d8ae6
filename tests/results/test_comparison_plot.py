from multilabel_pl.model.comparison import LabelComparison
from multilabel_pl.model.intervals import Interval
from multilabel_pl.results.comparison_plot import MOST, plot


def compared(name: str, difference: float, error: float = 0.1) -> LabelComparison:
    interval = Interval(difference, difference - error, difference + error)
    return LabelComparison(name, 50, (0.5, 0.5 + difference), interval, 0, 0, (0.5, 0.5))


def test_differences_are_placed_from_the_worst_interval_to_the_best() -> None:
    labels = [compared("worse", -0.3), compared("same", 0), compared("better", 0.2), compared("?", 0.9, float("nan"))]
    drawn = plot(labels)
    assert [row.name for row in drawn.rows] == ["better", "same", "worse"]
    better, same, worse = drawn.rows
    assert (worse.low, same.middle) == (drawn.left, drawn.zero)
    assert drawn.zero < better.low < better.middle < better.high < drawn.right
    assert [row.is_certain for row in drawn.rows] == [True, False, True]
    assert better.text == "better: +0.2000 (+0.1000 to +0.3000)"


def test_of_many_labels_those_that_differ_most_are_drawn() -> None:
    labels = [compared(f"label {i}", i / 100) for i in range(-MOST, 2)]
    drawn = plot(labels)
    assert [row.name for row in drawn.rows] == [f"label {i}" for i in range(-1, -MOST - 1, -1)]
    assert drawn.is_part
    assert not plot(labels[:MOST]).is_part
