"""What reports say of an evaluation: sentences, and rows of tables."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.intervals import ENOUGH, Interval, has_few
from multilabel_pl.model.metrics import HALF

Table = tuple[list[str], list[list[str]]]  # names of the columns, and the cells of the rows

NO_TAGS = "label_accuracy_of_no_tags"
AT_HALF = "_at_half"
INTERVAL = "95 % interval"
DECIMALS = 4
LEARNED_HERE = "Thresholds were learned from these images, and look better on them than on others."


def facts(evaluation: Evaluation) -> list[str]:
    """Says how many images there are, where the thresholds are from, and how many decisions are known, if not all."""
    threshold = evaluation.decision.threshold
    origin = f"by {threshold}" if isinstance(threshold, str) else "as given"
    sentences = [f"{len(evaluation.targets):,} images; thresholds {origin}."]
    known, count = int(evaluation.known.sum()), evaluation.known.numel()
    if known < count:
        sentences.append(f"{known:,} of {count:,} decisions are known; the others take no part.")
    return sentences


def decision_table(evaluation: Evaluation) -> Table:
    """Returns the metrics of decisions, at the thresholds and at 0.5."""
    names = [name for name in evaluation.metrics if f"{name}{AT_HALF}" in evaluation.metrics]
    rows = [[name, *_with_interval(evaluation, name), *_with_interval(evaluation, name + AT_HALF)] for name in names]
    return ["decisions", "own thresholds", INTERVAL, "at 0.5", INTERVAL], rows


def ranking_table(evaluation: Evaluation) -> Table:
    """Returns the metrics that don't depend on thresholds."""
    metrics = evaluation.metrics
    decisions = {name for name in metrics if name.endswith(AT_HALF)}
    decisions |= {name.removesuffix(AT_HALF) for name in decisions}
    others = [name for name in metrics if name not in decisions and name != NO_TAGS]
    rows = [[name, *_with_interval(evaluation, name)] for name in others]
    return ["without thresholds", "", INTERVAL], rows


def label_table(evaluation: Evaluation) -> Table:
    """Returns a row for each label: its images, threshold and metrics."""
    average_precision, auroc = evaluation.label_rankings
    at_half = _where_defined(evaluation.label_decisions_at_half, evaluation.tags_at_half, evaluation)
    columns: dict[str, Tensor] = {
        "threshold": evaluation.thresholds,
        **_where_defined(evaluation.label_decisions, evaluation.tags, evaluation),
        "AP": average_precision,
        **{f"{name} at 0.5": at_half[name] for name in ("f1", "precision", "recall")},
        "AUROC": auroc,
    }
    numbers = torch.stack(list(columns.values()), dim=1).tolist()  # (L, columns)
    counts = {"images": evaluation.truth.sum(dim=0)}  # (L,)
    if not evaluation.known.all():
        counts["known"] = evaluation.known.sum(dim=0)
    counted = torch.stack(list(counts.values()), dim=1).tolist()
    rows = [
        [label, *map(str, count), *map(number, row)]
        for label, count, row in zip(evaluation.labels, counted, numbers, strict=True)
    ]
    return ["label", *counts, *columns], rows


def remarks(evaluation: Evaluation, learned_here: bool) -> Iterator[str]:
    """Yields what is to be known of the figures, in sentences.

    Args:
        evaluation: What they are of.
        learned_here: Whether thresholds were learned from these very images.
    """
    if learned_here:
        yield LEARNED_HERE
    if few := int(has_few(evaluation.truth).sum()):
        yield f"No interval of means over labels: fewer than {ENOUGH} images carry {few} of them."
    if evaluation.decision.promise:
        yield evaluation.decision.promise
    yield f"Predicting no tag at all has a label_accuracy of {evaluation.metrics[NO_TAGS]:.4f}."


def gains(evaluation: Evaluation) -> list[str]:
    """Says in words what the thresholds gain against 0.5; nothing if they are 0.5."""
    if (evaluation.thresholds == HALF).all():
        return []
    changed = evaluation.changed
    return [_gain(name, gain, changed[name]) for name, gain in evaluation.gains.items() if math.isfinite(gain.low)]


def _gain(name: str, gain: Interval, changed: int) -> str:
    """Says what a metric gains; of few images that changed, an interval is too narrow to be sure by."""
    value, low, high = (round(part, DECIMALS) + 0.0 for part in gain)  # without the sign of -0.0
    if low == high == 0:
        return f"no difference in {name}"
    if changed < ENOUGH or low <= 0 <= high:
        return f"no certain difference in {name} ({number(low)} to {number(high)})"
    if value < 0:
        return f"a loss of {number(-value)} in {name} ({number(-high)} to {number(-low)})"
    return f"a gain of {number(value)} in {name} ({number(low)} to {number(high)})"


def number(value: float) -> str:
    """Formats a metric; a dash if it isn't defined."""
    return f"{value:.{DECIMALS}f}" if math.isfinite(value) else "–"


def range_of(interval: Interval) -> str:
    """Formats an interval; a dash if there is none."""
    return f"{number(interval.low)}–{number(interval.high)}" if math.isfinite(interval.low) else "–"


def _with_interval(evaluation: Evaluation, name: str) -> list[str]:
    intervals = evaluation.intervals
    return [number(evaluation.metrics[name].item()), range_of(intervals[name]) if name in intervals else ""]


def _where_defined(values: dict[str, Tensor], tags: Tensor, evaluation: Evaluation) -> dict[str, Tensor]:
    """Returns each label's, (L,), with NaN for precision without tags and recall without positives."""
    precision = values["precision"].where((tags & evaluation.known).any(dim=0), torch.nan)
    recall = values["recall"].where(evaluation.truth.any(dim=0), torch.nan)
    return {**values, "precision": precision, "recall": recall}
