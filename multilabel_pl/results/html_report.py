"""The report of an evaluation as a page that can be sent: one file, with curves, images and a threshold to move."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.errors import InputError
from multilabel_pl.file_names import CURVES
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.gallery import exhibit_label_errors, exhibit_mistakes
from multilabel_pl.results.heat_maps import Explain
from multilabel_pl.results.html_page import write_page
from multilabel_pl.results.label_errors import LabelErrors, describe_label_errors
from multilabel_pl.results.label_plots import SHARES, cooccurrence, drawn_labels, which_labels
from multilabel_pl.results.origin import Origin
from multilabel_pl.results.report_content import (
    DECIMALS,
    decision_table,
    facts,
    gains,
    label_table,
    number,
    range_of,
    ranking_table,
    remarks,
)
from multilabel_pl.results.run_options import read_options
from multilabel_pl.results.text import as_yaml
from multilabel_pl.results.threshold_curves import threshold_curves
from multilabel_pl.results.training_plots import COLORS, read_curves

LEADING = {"exact_match": "exact match", "f1_macro": "F1, macro", "f1_micro": "F1, micro", "map": "mAP"}
DIGEST = 12  # characters


def write_html_report(
    evaluation: Evaluation,
    images: LabelledDataset | None,
    origin: Origin,
    path: Path,
    title: str,
    learned_here: bool = False,
    label_errors: LabelErrors | None = None,
    explain: Explain | None = None,
) -> None:
    """Writes the report of an evaluation as a page.

    Args:
        evaluation: What to report.
        images: The images evaluated, in the order of the evaluation; without them, none are shown.
        origin: What was evaluated.
        path: Where to; the curves of the run are those of metrics.csv in the folder around it.
        title: Of the report.
        learned_here: Whether thresholds were learned from these very images.
        label_errors: Decisions of the data that are likely wrong, if they were searched for.
        explain: What makes heat maps of the mistakes, if they are asked for.
    """
    content = {
        "title": title,
        "facts": " ".join([*facts(evaluation), f"Checkpoint {origin.digest[:DIGEST]}."]),
        "leading": list(_leading(evaluation)),
        "remarks": list(remarks(evaluation, learned_here)),
        "decisions": decision_table(evaluation),
        "gains": gains(evaluation),
        "rankings": ranking_table(evaluation),
        "labels": label_table(evaluation),
        "mistakes": _mistakes(evaluation, images, explain),
        "label_errors": _label_errors(evaluation, images, label_errors),
        "cooccurrence": _cooccurrence(evaluation) if len(evaluation.labels) > 1 else None,
        "calibration": _calibration(evaluation),
        "epoch": origin.epoch,
        "options": list(_options(origin)),
        "data": {
            "labels": threshold_curves(evaluation),
            "reliability": _reliability(evaluation) if evaluation.known.any() else None,
            "curves": _curves(path.parent.parent / CURVES),
        },
    }
    write_page("report.html.jinja", content, path)


def _leading(evaluation: Evaluation) -> Iterator[dict[str, str]]:
    intervals = evaluation.intervals
    for name, text in LEADING.items():
        value = evaluation.metrics[name].item()
        yield {"name": text, "value": number(value), "interval": range_of(intervals[name])}


def _mistakes(evaluation: Evaluation, images: LabelledDataset | None, explain: Explain | None) -> dict[str, Any]:
    wrong, count = int(evaluation.wrong.sum()), len(evaluation.wrong)
    shown = list(exhibit_mistakes(evaluation, images, explain)) if images is not None else []
    which = f" Shown are the worst {len(shown)}; mistakes.csv lists all." if len(shown) < wrong else ""
    labels = sorted({int(label) for image in shown for label in f"{image.missed} {image.wrong}".split()})
    return {
        "summary": f"{wrong:,} of {count:,} images have a wrong tag, or miss one.{which}",
        "images": shown,
        "labels": [(label, evaluation.labels[label]) for label in labels],
        "explained": explain is not None,
    }


def _label_errors(
    evaluation: Evaluation, images: LabelledDataset | None, found: LabelErrors | None
) -> dict[str, Any] | None:
    if found is None or images is None:
        return None
    shown = list(exhibit_label_errors(evaluation, found, images))
    return {"summary": describe_label_errors(evaluation, found), "images": shown}


def _cooccurrence(evaluation: Evaluation) -> dict[str, Any]:
    labels = drawn_labels(evaluation)
    which = which_labels(evaluation)
    percents = {kind: shares * 100 for kind, shares in cooccurrence(evaluation, labels).items()}
    return {
        "summary": f"{SHARES[0].upper()}{SHARES[1:]}{f'; {which}' if which else ''}, in %.",
        "names": [evaluation.labels[label] for label in labels],
        "tables": [
            (kind, [[round(percent) if math.isfinite(percent) else None for percent in row] for row in rows.tolist()])
            for kind, rows in percents.items()
        ],
    }


def _calibration(evaluation: Evaluation) -> str:
    return f"Expected calibration error: {number(evaluation.metrics['calibration_error'].item())}."


def _reliability(evaluation: Evaluation) -> dict[str, list[float]]:
    """Returns the points of the reliability diagram: mean probability, share of positives and its interval."""
    filled = [each for each in evaluation.bins if each.size]
    points = [[round(value, DECIMALS) for value in (each.probability, *each.share)] for each in filled]
    return dict(zip(("probability", "share", "low", "high"), map(list, zip(*points, strict=True)), strict=True))


def _curves(metrics_csv: Path) -> list[dict[str, Any]]:
    """Returns the curves of the run, each panel's at the epochs of all of them, null where one has no value."""
    panels = []
    for title, curves in (read_curves(metrics_csv) if metrics_csv.is_file() else {}).items():
        points = {name: dict(zip(*curve, strict=True)) for name, curve in curves.items()}
        epochs = sorted(set().union(*points.values()))
        values = [epochs, *([each.get(epoch) for epoch in epochs] for each in points.values())]
        if epochs:
            colors = [list(COLORS[title]).index(name) for name in points]  # the same, whichever there are
            panels.append({"title": title, "names": list(points), "colors": colors, "values": values})
    return panels


def _options(origin: Origin) -> Iterator[tuple[str, str]]:
    """Yields the options of the model, of the data and of the run, as they are typed."""
    for group, options in {"model": origin.options, "data": origin.data_options}.items():
        for name, value in options.items():
            if name != "task":  # the labels are in the report
                yield f"{group}.{name}", as_yaml(value)
    for name, value in _run_options(origin.checkpoint.parent).items():
        if name == "seed_everything" or (name.startswith("trainer.") and value is not None):
            yield name, as_yaml(value)


def _run_options(run: Path) -> dict[str, Any]:
    try:
        return read_options(run) or {}
    except InputError:  # damaged: the page can do without
        return {}
