"""Predictions as HTML."""

from collections.abc import Sequence
from html import escape

from multilabel_pl.model.prediction import Prediction

SHOWN = 12  # bars
STYLE = """
.tags { display: flex; flex-wrap: wrap; gap: 0.4em; min-height: 2.4em; margin-bottom: 0.8em; align-items: center; }
.tags .chip { padding: 0.2em 0.8em; border-radius: 1em; background: #1565a7; color: #fff; font-size: 1.2em;
  font-weight: 600; overflow-wrap: anywhere; }
.bars { display: grid; grid-template-columns: fit-content(40%) 1fr 3.2em; gap: 0.35em 0.7em; align-items: center; }
.bars .track { position: relative; height: 1.1em; border-radius: 3px; background: var(--background-fill-secondary);
  box-shadow: inset 0 0 0 1px var(--border-color-primary); }
.bars .fill { height: 100%; border-radius: 3px; background: #868c98; }
.bars .tagged .fill { background: #1565a7; }
.dark .bars .tagged .fill { background: #4fa3e3; }
.bars .threshold { position: absolute; top: -2px; bottom: -2px; width: 2px; background: var(--body-text-color);
  box-shadow: 0 0 0 1px var(--body-background-fill); }
.bars .name { text-align: right; overflow-wrap: anywhere; }
.bars .value { font-variant-numeric: tabular-nums; }
"""


def bars(prediction: Prediction, thresholds: Sequence[float]) -> str:
    """Draws the highest probabilities as bars, with lines at their labels' thresholds, below the tags."""
    pairs = zip(prediction.probabilities.items(), thresholds, strict=True)
    ordered = sorted(pairs, key=lambda pair: pair[0][1], reverse=True)
    rows = [_row(label, value, threshold, label in prediction.tags) for (label, value), threshold in ordered[:SHOWN]]
    chips = " ".join(f'<span class="chip">{escape(tag)}</span>' for tag in prediction.tags) or "no tag"
    note = f"<p>The {SHOWN} most probable of {len(ordered)} labels.</p>" if len(ordered) > SHOWN else ""
    return f'<div class="tags">{chips}</div><div class="bars">{"".join(rows)}</div>{note}'


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
