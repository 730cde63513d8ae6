"""Reports of evaluations: tables on the screen and in Markdown, and metrics as JSON."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from multilabel_pl.atomic import atomic_path
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.intervals import ENOUGH, Interval, has_few
from multilabel_pl.model.metrics import HALF, precision_recall_f1
from multilabel_pl.model.rules import Threshold
from multilabel_pl.results.text import table

NO_TAGS = "label_accuracy_of_no_tags"
AT_HALF = "_at_half"
INTERVAL = "95 % interval"
DECIMALS = 4
MAX_ROWS, MOST_FREQUENT, WORST = 40, 20, 10  # labels on a screen
LEARNED_HERE = "Thresholds were learned from these images, and look better on them than on others."


def report(evaluation: Evaluation, learned_here: bool = False, width: int | None = None) -> str:
    """Formats an evaluation as Markdown.

    How many images, how many decisions are known if not all, metrics of decisions, what the thresholds gain against
    0.5, what they promise, metrics without thresholds, and a row for each label.

    Args:
        evaluation: What to report.
        learned_here: Whether thresholds were learned from these very images, which the report then says.
        width: Columns of the screen, which tables are made to fit: of many labels, the most frequent and the worst are
            shown. All is shown if not given.
    """
    metrics = {name: value.item() for name, value in evaluation.metrics.items()}
    intervals = {name: _range(interval) for name, interval in evaluation.intervals.items()}

    def cells(name: str) -> list[str]:
        return [_number(metrics[name]), intervals.get(name, "")]

    floor = metrics.pop(NO_TAGS)
    decisions = [name for name in metrics if f"{name}{AT_HALF}" in metrics]
    others = [name for name in metrics if name not in decisions and not name.endswith(AT_HALF)]
    sides = [[name, *cells(name), *cells(f"{name}{AT_HALF}")] for name in decisions]
    return "\n\n".join(
        [
            f"{len(evaluation.targets):,} images; thresholds {_origin(evaluation.decision.threshold)}.",
            *_known(evaluation),
            table(["decisions", "own thresholds", INTERVAL, "at 0.5", INTERVAL], sides, width),
            *([LEARNED_HERE] if learned_here else []),
            *_gains(evaluation),
            *_without_interval(evaluation),
            *filter(None, [evaluation.decision.promise]),
            f"Predicting no tag at all has a label_accuracy of {floor:.4f}.",
            table(["without thresholds", "", INTERVAL], [[name, *cells(name)] for name in others], width),
            *_label_table(evaluation, width),
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


def _origin(threshold: Threshold) -> str:
    return f"by {threshold}" if isinstance(threshold, str) else "as given"


def _known(evaluation: Evaluation) -> list[str]:
    """Says how many decisions are known, if not all."""
    known, count = int(evaluation.known.sum()), evaluation.known.numel()
    return [f"{known:,} of {count:,} decisions are known; the others take no part."] if known < count else []


def _gains(evaluation: Evaluation) -> list[str]:
    """Says in words what the thresholds gain against 0.5; nothing if they are 0.5."""
    if (evaluation.thresholds == HALF).all():
        return []
    lines = [f"- {_gain(name, gain)}" for name, gain in evaluation.gains.items() if math.isfinite(gain.low)]
    return ["Own thresholds against 0.5, with 95 % intervals:", "\n".join(lines)]


def _gain(name: str, gain: Interval) -> str:
    value, low, high = (round(part, DECIMALS) + 0.0 for part in gain)  # without the sign of -0.0
    if low == high == 0:
        return f"no difference in {name}"
    if low <= 0 <= high:
        return f"no certain difference in {name} ({_number(low)} to {_number(high)})"
    if value < 0:
        return f"a loss of {_number(-value)} in {name} ({_number(-high)} to {_number(-low)})"
    return f"a gain of {_number(value)} in {name} ({_number(low)} to {_number(high)})"


def _without_interval(evaluation: Evaluation) -> list[str]:
    """Says why means over labels have no interval, if they have none."""
    few = int(has_few(evaluation.truth).sum())
    return [f"No interval of means over labels: fewer than {ENOUGH} images carry {few} of them."] if few else []


def _label_table(evaluation: Evaluation, width: int | None) -> list[str]:
    """Returns a row for each label; on a screen, of many, those of some, and which these are."""
    average_precision, auroc = evaluation.label_rankings
    at_half = _precision_recall_f1(evaluation.tags_at_half, evaluation)
    columns: dict[str, Tensor] = {
        "threshold": evaluation.thresholds,
        **_precision_recall_f1(evaluation.tags, evaluation),
        "AP": average_precision,
        **{f"{name} at 0.5": at_half[name] for name in ("f1", "precision", "recall")},
        "AUROC": auroc,
    }
    numbers = torch.stack(list(columns.values()), dim=1).tolist()  # (L, columns)
    support = evaluation.truth.sum(dim=0)  # (L,)
    counts = {"images": support, **({} if evaluation.known.all() else {"known": evaluation.known.sum(dim=0)})}
    counted = torch.stack(list(counts.values()), dim=1).tolist()
    rows = [
        [label, *map(str, count), *map(_number, row)]
        for label, count, row in zip(evaluation.labels, counted, numbers, strict=True)
    ]
    header = ["label", *counts, *columns]
    if width is None or len(rows) <= MAX_ROWS:
        return [table(header, rows, width)]
    f1 = columns["f1"].nan_to_num(1)
    frequent = support.argsort(descending=True, stable=True)[:MOST_FREQUENT].tolist()
    worst = [label for label in f1.argsort(stable=True).tolist() if label not in frequent][:WORST]
    return [
        f"The {len(frequent)} most frequent of {len(rows)} labels, and the {len(worst)} others with the lowest F1; "
        "report.md has all.",
        table(header, [rows[label] for label in (*frequent, *worst)], width),
    ]


def _precision_recall_f1(tags: Tensor, evaluation: Evaluation) -> dict[str, Tensor]:
    """Returns each label's, (L,), and NaN for precision without tags and recall without positives."""
    values = precision_recall_f1(tags, evaluation.targets, dim=0)
    values["precision"] = values["precision"].where((tags & evaluation.known).any(dim=0), torch.nan)
    values["recall"] = values["recall"].where(evaluation.truth.any(dim=0), torch.nan)
    return values


def _number(value: float) -> str:
    return f"{value:.{DECIMALS}f}" if math.isfinite(value) else "–"


def _range(interval: Interval) -> str:
    return f"{_number(interval.low)}–{_number(interval.high)}" if math.isfinite(interval.low) else "–"
