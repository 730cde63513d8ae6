import pytest

from multilabel_pl.model.comparison import LabelComparison
from multilabel_pl.model.intervals import Interval
from multilabel_pl.results.comparison_plot import MOST, plots


def compared(name: str, difference: float, error: float = 0.1) -> LabelComparison:
    interval = Interval(difference, difference - error, difference + error)
    return LabelComparison(name, 50, (0.5, 0.5 + difference), interval, 0, 0, (0.5, 0.5))


def test_differences_are_placed_from_the_worst_interval_to_the_best() -> None:
    labels = [compared("worse", -0.3), compared("same", 0), compared("better", 0.2), compared("?", 0.9, float("nan"))]
    [drawn] = plots([labels])
    assert [row.name for row in drawn.rows] == ["better", "same", "worse"]
    better, same, worse = drawn.rows
    assert (worse.low, same.middle) == (0, 50)
    assert 50 < better.low < better.middle < better.high < 100
    assert [row.is_certain for row in drawn.rows] == [True, False, True]
    assert better.text == "better: +0.2000 (+0.1000 to +0.3000)"
    assert drawn.tick == pytest.approx(0.2)
    assert drawn.tick_offset == 25


def test_of_many_labels_those_that_differ_most_are_drawn() -> None:
    labels = [compared(f"label {i}", i / 100) for i in range(-MOST, 2)]
    [drawn] = plots([labels])
    assert [row.name for row in drawn.rows] == [f"label {i}" for i in range(-1, -MOST - 1, -1)]
    assert drawn.is_part
    assert not plots([labels[:MOST]])[0].is_part


def test_plots_have_one_scale_and_may_be_empty() -> None:
    small, large, empty = plots([[compared("a", 0.01, 0.005)], [compared("a", 0.5)], []])
    assert small.tick == large.tick == empty.tick == 0.5
    assert small.rows[0].high == pytest.approx(50 + 50 * 0.015 / 0.6, abs=0.01)
    assert empty.rows == []
    assert plots([[]])[0].tick == 1
