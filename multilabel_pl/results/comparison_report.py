"""Comparisons of runs: on the screen, in Markdown and as a page."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from multilabel_pl.atomic import atomic_path
from multilabel_pl.model.comparison import LEADING, Comparison, LabelComparison, compare
from multilabel_pl.model.intervals import ENOUGH, Interval
from multilabel_pl.results.compared_runs import ComparedRun, differing_options
from multilabel_pl.results.comparison_plot import Plot, plots
from multilabel_pl.results.html_page import write_page
from multilabel_pl.results.report_content import DECIMALS, INTERVAL, Table, number
from multilabel_pl.results.text import as_shown, table

TITLE = "Comparison of runs"
BESIDE = ("calibration_error", "loss")  # shown beside the LEADING metrics, without a difference
MINUTES = 16  # characters of a date
MAX_ROWS, MOST_DIFFERENT = 40, 30  # labels on a screen
FEW = f"There is no interval where fewer than {ENOUGH} images carry a label, or are tagged differently."


@dataclass(frozen=True)
class Section:
    """A run against the first one.

    Attributes:
        title: Names both.
        metrics: How the leading metrics differ.
        about_labels: What the table of labels shows, in sentences.
        labels: A row for each label.
        by_difference: The rows of the labels whose F1 differs most.
        plot: The labels whose difference has an interval.
    """

    title: str
    metrics: Table
    about_labels: str
    labels: Table
    by_difference: list[list[str]]
    plot: Plot


@dataclass(frozen=True)
class ComparisonReport:
    """Runs side by side, and each against the first one.

    Attributes:
        facts: What is compared, in sentences.
        runs: The figures of each run.
        about_options: How the options of the runs differ, in a sentence.
        options: The options that differ.
        sections: Each run against the first one.
    """

    facts: str
    runs: Table
    about_options: str
    options: Table
    sections: list[Section]

    def text(self, width: int | None = None) -> str:
        """Formats the comparison as Markdown, or for a screen.

        Args:
            width: Columns of the screen, which tables are made to fit; of many labels, those that differ most are
                shown. All is shown if not given.
        """
        options = [table(*self.options, width)] if self.options[1] else []
        parts = [as_shown(self.facts, width), table(*self.runs, width), as_shown(self.about_options, width), *options]
        return "\n\n".join([*parts, *(part for section in self.sections for part in _parts(section, width))])

    def write(self, path: Path) -> None:
        """Writes the comparison as a page if the path ends in .html, else in Markdown."""
        if path.suffix == ".html":
            write_page("comparison.html.jinja", {"title": TITLE, "report": self}, path)
            return
        with atomic_path(path) as partial:
            partial.write_text(f"# {TITLE}\n\n{self.text()}\n", encoding="utf-8")


def report_comparison(runs: Sequence[ComparedRun]) -> ComparisonReport:
    """Compares runs with the first of them."""
    first, *others = runs
    count, options = len(first.evaluation.targets), differing_options(runs)
    facts = f"{count:,} images of {first.outputs.source}. Differences are from {first.name}, on the same images. {FEW}"
    header = ["run", *LEADING, *BESIDE, "checkpoint", "evaluated"]
    compared = [compare(first.evaluation, other.evaluation) for other in others]
    drawn = plots([each.labels for each in compared])
    sections = zip((run.name for run in others), compared, drawn, strict=True)
    return ComparisonReport(
        facts=facts,
        runs=(header, [_figures(run) for run in runs]),
        about_options=_about_options(runs, options),
        options=(["option", *(run.name for run in runs)], [[name, *values] for name, values in options.items()]),
        sections=[_section(first.name, *section) for section in sections],
    )


def _figures(run: ComparedRun) -> list[str]:
    metrics = run.evaluation.metrics
    figures = [number(metrics[name].item()) for name in (*LEADING, *BESIDE)]
    return [run.name, *figures, run.outputs.checkpoint, run.outputs.date[:MINUTES].replace("T", " ")]


def _about_options(runs: Sequence[ComparedRun], options: dict[str, list[str]]) -> str:
    if unknown := [run.name for run in runs if run.options is None]:
        return f"Options are not compared: there is no config.yaml of {', '.join(unknown)}."
    return "Options that differ:" if options else "All options are the same."


def _section(first: str, other: str, comparison: Comparison, plot: Plot) -> Section:
    metrics = [[name, _signed(each.value), _range(each)] for name, each in comparison.metrics.items()]
    labels, names = comparison.labels, (first, other)
    header = ["label", "images", "difference", INTERVAL, *names, "better", "worse", *(f"AP, {name}" for name in names)]
    most_different = sorted(labels, key=_order)[:MOST_DIFFERENT]
    return Section(
        title=f"{other} against {first}",
        metrics=(["metric", "difference", INTERVAL], metrics),
        about_labels=_about_labels(*names),
        labels=(header, [_label_row(label) for label in labels]),
        by_difference=[_label_row(label) for label in most_different],
        plot=plot,
    )


def _about_labels(first: str, other: str) -> str:
    return (
        f"F1 by label. The intervals of all labels hold at once in 95 % of cases (Bonferroni). better: images that "
        f"{other} alone decides rightly; worse: those that {first} alone does."
    )


def _label_row(label: LabelComparison) -> list[str]:
    values = [number(value) for value in (*label.f1, *label.average_precision)]
    difference = [_signed(label.difference.value), _range(label.difference)]
    counts = [str(label.better), str(label.worse)]
    return [label.label, str(label.images), *difference, *values[:2], *counts, *values[2:]]


def _parts(section: Section, width: int | None) -> Iterator[str]:
    yield f"## {as_shown(section.title, width)}"
    yield table(*section.metrics, width)
    yield as_shown(section.about_labels, width)
    header, rows = section.labels
    if width is None or len(rows) <= MAX_ROWS:
        yield table(header, rows, width)
    else:
        shown = f"The {MOST_DIFFERENT} of {len(rows)} labels that differ most, those with an interval first"
        yield f"{shown}; --output comparison.md has all."
        yield table(header, section.by_difference, width)


def _order(label: LabelComparison) -> tuple[bool, float]:
    """Returns what sorts labels by their difference, those with an interval first: others may differ by chance."""
    return math.isnan(label.difference.low), -abs(label.difference.value)


def _signed(difference: float) -> str:
    return f"{round(difference, DECIMALS) + 0.0:+.{DECIMALS}f}" if math.isfinite(difference) else "–"


def _range(interval: Interval) -> str:
    return f"{_signed(interval.low)} to {_signed(interval.high)}" if math.isfinite(interval.low) else "–"
