"""Reports of evaluations: tables on the screen and in Markdown, and metrics as JSON."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from multilabel_pl.atomic import atomic_path
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.report_content import (
    decision_table,
    facts,
    gains,
    label_table,
    ranking_table,
    remarks,
)
from multilabel_pl.results.text import table

MAX_ROWS, MOST_FREQUENT, WORST = 40, 20, 10  # labels on a screen


def report(evaluation: Evaluation, learned_here: bool = False, width: int | None = None) -> str:
    """Formats an evaluation as Markdown.

    How many images and known decisions, metrics of decisions, what the thresholds gain against 0.5, remarks such as
    what they promise, metrics without thresholds, and a row for each label.

    Args:
        evaluation: What to report.
        learned_here: Whether thresholds were learned from these very images, which the report then says.
        width: Columns of the screen, which tables are made to fit: of many labels, the most frequent and the worst are
            shown. All is shown if not given.
    """
    gained = "\n".join(f"- {gain}" for gain in gains(evaluation))
    return "\n\n".join(
        [
            *facts(evaluation),
            table(*decision_table(evaluation), width),
            *(["Own thresholds against 0.5, with 95 % intervals:", gained] if gained else []),
            *remarks(evaluation, learned_here),
            table(*ranking_table(evaluation), width),
            *_labels(evaluation, width),
        ]
    )


def all_metrics(evaluation: Evaluation) -> dict[str, float]:
    """Returns the metrics by name, and the bounds of their intervals with `_low` and `_high` after it."""
    metrics = {name: value.item() for name, value in evaluation.metrics.items()}
    for name, interval in evaluation.intervals.items():
        metrics |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return metrics


def write_metrics(metrics: dict[str, float], path: Path) -> None:
    """Writes metrics as one flat JSON object, name to number; null for what is not finite, which JSON lacks."""
    plain = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_report(text: str, figures: Mapping[str, str], path: Path) -> None:
    """Writes the report as a page.

    Args:
        text: The report.
        figures: What each figure in the same folder shows, by the name of its file.
        path: Where to.
    """
    shown = [f"![{Path(name).stem.replace('_', ' ')}]({name})\n\n{caption}" for name, caption in figures.items()]
    with atomic_path(path) as partial:
        partial.write_text("\n\n".join([text, *shown]) + "\n", encoding="utf-8")


def _labels(evaluation: Evaluation, width: int | None) -> list[str]:
    """Returns a row for each label; on a screen, of many, those of some, and which these are."""
    header, rows = label_table(evaluation)
    if width is None or len(rows) <= MAX_ROWS:
        return [table(header, rows, width)]
    f1 = evaluation.label_decisions["f1"].nan_to_num(1)
    support = evaluation.truth.sum(dim=0)
    frequent = support.argsort(descending=True, stable=True)[:MOST_FREQUENT].tolist()
    worst = [label for label in f1.argsort(stable=True).tolist() if label not in frequent][:WORST]
    return [
        f"The {len(frequent)} most frequent of {len(rows)} labels, and the {len(worst)} others with the lowest F1; "
        "report.md has all.",
        table(header, [rows[label] for label in (*frequent, *worst)], width),
    ]
