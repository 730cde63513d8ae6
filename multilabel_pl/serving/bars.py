"""Predictions as HTML."""

from collections.abc import Sequence
from html import escape

from multilabel_pl.model.prediction import Prediction

STYLE = """
.tags { font-size: 1.4em; font-weight: 600; min-height: 1.6em; }
.bars { display: grid; grid-template-columns: max-content 1fr 3.2em; gap: 0.35em 0.7em; align-items: center; }
.bars .track { position: relative; height: 1.1em; border-radius: 3px; background: var(--background-fill-secondary); }
.bars .fill { height: 100%; border-radius: 3px; background: #b8bcc4; }
.bars .tagged .fill { background: #1f77b4; }
.bars .threshold { position: absolute; top: -2px; bottom: -2px; width: 2px; background: var(--body-text-color); }
.bars .name { text-align: right; overflow-wrap: anywhere; }
.bars .value { font-variant-numeric: tabular-nums; }
"""


def bars(prediction: Prediction, thresholds: Sequence[float]) -> str:
    """Draws a bar for each label's probability, with a line at its threshold, below the names of the tags."""
    pairs = zip(prediction.probabilities.items(), thresholds, strict=True)
    rows = [_row(label, value, threshold, label in prediction.tags) for (label, value), threshold in pairs]
    tags = ", ".join(map(escape, prediction.tags)) or "no tag"
    return f'<div class="tags">{tags}</div><div class="bars">{"".join(rows)}</div>'


def no_bars(reason: str) -> str:
    """Shows a reason instead of bars."""
    return f'<div class="tags">–</div><p>{escape(reason)}</p>'


def _row(label: str, value: float, threshold: float, tagged: bool) -> str:
    fill = f'<div class="fill" style="width: {value:.2%}"></div>'
    line = f'<div class="threshold" style="left: {threshold:.2%}" title="threshold {threshold:.4f}"></div>'
    name = f"<b>{escape(label)}</b>" if tagged else escape(label)
    return (
        f'<div class="name">{name}</div>'
        f'<div class="track{" tagged" * tagged}">{fill}{line}</div><div class="value">{value:.3f}</div>'
    )
