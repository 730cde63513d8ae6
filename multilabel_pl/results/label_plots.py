"""Figures of labels: a small panel for each, or a row and a column."""

import math
from collections.abc import Callable
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.functional.classification import binary_confusion_matrix, binary_precision_recall_curve

from multilabel_pl.messages import shortened
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.metrics import HALF
from multilabel_pl.results.figures import CAPTION, MODEL, REFERENCE, write_within
from multilabel_pl.results.threshold_curves import count_reaching

COLUMNS = 4
PANEL = 1.75  # inches of a side, and around it:
LEFT, BOTTOM, EDGE, BETWEEN, ABOVE = 0.8, 0.6, 0.1, 0.34, 0.5
WHICH = 0.3  # for the words which labels are drawn, above all
NAME_LENGTH = 26
MAX_PANELS = 24  # with more labels, those with the most positives
ZOOMS = (0.98, 0.95, 0.9, 0.8, 0.5)  # from where axes may begin
GRID = 201  # thresholds that F1 is drawn at
MATRIX_INCHES, MIN_MATRIX_INCHES = 0.32, 2.0
MAX_NUMBERED = 12  # labels whose matrix has numbers in it
SHARES = "of the images with a row's true tag, the share with a column's tag"
NO_YES = ("no", "yes")
ON_NO_IMAGE, UNKNOWN = "on no image", "known of no image"


def drawn_labels(evaluation: Evaluation) -> list[int]:
    """Returns the labels that are drawn: all, or, of many, those that most images carry."""
    frequent = evaluation.truth.sum(dim=0).argsort(descending=True, stable=True)[:MAX_PANELS]
    return sorted(frequent.tolist())


def which_labels(evaluation: Evaluation) -> str:
    """Says which labels are drawn, if not all."""
    drawn, count = len(drawn_labels(evaluation)), len(evaluation.labels)
    return f"the {drawn} of {count} labels that most images carry" if drawn < count else ""


def precision_recall_figure(evaluation: Evaluation) -> Figure:
    """Draws a precision-recall curve for each label, with the threshold on it, where there is something."""
    chosen = evaluation.label_decisions
    start = _zoom(evaluation, chosen)
    space = 0.04 * (1 - start)
    limits = (start - space if start else 0, 1 + space)

    def draw(axes: Axes, label: int) -> None:
        known = evaluation.known[:, label]
        decisions = evaluation.probabilities[known, label], evaluation.truth[known, label].int()
        precision, recall, _ = binary_precision_recall_curve(*decisions)
        axes.plot(recall.numpy(), precision.numpy(), color=MODEL)
        axes.plot(chosen["recall"][label].item(), chosen["precision"][label].item(), "o", color="black")

    note = f", from {start:g}" if start else ""
    ticks = (start, (start + 1) / 2, 1)
    scale = {"xlim": limits, "ylim": limits, "xticks": ticks, "yticks": ticks}
    return _panels(evaluation, draw, f"recall{note}", f"precision{note}", scale)


def _zoom(evaluation: Evaluation, chosen: dict[str, Tensor]) -> float:
    """Returns where both axes begin: the average precision and the thresholds of all drawn labels lie well above."""
    average_precision, _ = evaluation.label_rankings
    values = torch.stack([average_precision, chosen["precision"], chosen["recall"]])[:, drawn_labels(evaluation)]
    lowest = values.nan_to_num(1).min().item()
    return next((start for start in ZOOMS if lowest >= start + (1 - start) / 4), 0.0)


def f1_figure(evaluation: Evaluation) -> Figure:
    """Draws each label's F1 against its threshold, with the chosen one."""
    grid = torch.linspace(0, 1, GRID)
    chosen = evaluation.label_decisions["f1"].nan_to_num(0)

    def draw(axes: Axes, label: int) -> None:
        known, truth = evaluation.known[:, label], evaluation.truth[:, label]
        positives, negatives = (evaluation.probabilities[of, label].sort().values for of in (truth, known & ~truth))
        hits, mistaken = count_reaching(positives, grid), count_reaching(negatives, grid)
        f1 = 2 * hits / (hits + mistaken + len(positives))  # there are positives, else nothing is drawn
        axes.axvline(HALF, color=REFERENCE, zorder=0)
        axes.plot(grid.numpy(), f1.numpy(), color=MODEL)
        axes.plot(evaluation.thresholds[label].item(), chosen[label].item(), "o", color="black")

    scale = {"xlim": (-0.04, 1.04), "ylim": (0, 1.04), "xticks": (0, HALF, 1), "yticks": (0, HALF, 1)}
    return _panels(evaluation, draw, "threshold", "F1", scale)


def confusion_figure(evaluation: Evaluation) -> Figure:
    """Draws a confusion matrix for each label: the truth in rows, the tags in columns."""

    def draw(axes: Axes, label: int) -> None:
        known = evaluation.known[:, label]
        tags, truth = evaluation.tags[known, label].int(), evaluation.truth[known, label].int()
        counts = binary_confusion_matrix(tags, truth)  # (2, 2)
        shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
        axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
        _write_cells(axes, shares, [[f"{count:,}" for count in row] for row in counts.tolist()])

    scale = {"xticks": (0, 1), "xticklabels": NO_YES, "yticks": (0, 1), "yticklabels": NO_YES}
    return _panels(evaluation, draw, "tagged", "true", scale, drawn_if_missing=True)


def cooccurrence(evaluation: Evaluation, labels: list[int]) -> dict[str, Tensor]:
    """Counts which of some tags go together.

    Returns:
        For `true` tags, and for `predicted` ones: of the images that truly carry a label, the share with each other,
        (L, L), of those of which the other is known; NaN if there are none.
    """
    tags = evaluation.tags & evaluation.known
    truth, tags, known = (part[:, labels].float() for part in (evaluation.truth, tags, evaluation.known))
    images = truth.T @ known  # (L, L)
    return {"true": truth.T @ truth / images, "predicted": truth.T @ tags / images}


def cooccurrence_figure(evaluation: Evaluation) -> Figure:
    """Draws which tags go together, true and predicted ones."""
    labels = drawn_labels(evaluation)
    size = max(MATRIX_INCHES * len(labels), MIN_MATRIX_INCHES)
    figure = Figure(figsize=(2 * size + 4.5, size + 3.2), layout="compressed")
    names = [shortened(evaluation.labels[label], NAME_LENGTH) for label in labels]
    shares_of = cooccurrence(evaluation, labels)
    for axes, (kind, shares) in zip(figure.subplots(1, 2, sharey=True), shares_of.items(), strict=True):
        shown = axes.imshow(shares.nan_to_num(0).numpy(), cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set(xlabel=f"{kind} tag")
        if len(labels) <= MAX_NUMBERED:
            percents = shares.mul(100).tolist()
            _write_cells(axes, shares, [[_whole(percent) for percent in row] for row in percents], fontsize=7)
    figure.axes[0].set_ylabel("true tag")
    figure.colorbar(shown, ax=figure.axes, label="share of images", shrink=0.8)
    figure.suptitle(f"{SHARES}; {which}" if (which := which_labels(evaluation)) else SHARES)
    return figure


def _whole(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "–"


def _write_cells(axes: Axes, shares: Tensor, texts: list[list[str]], fontsize: int | None = None) -> None:
    """Writes a text into each cell of a matrix, in white on the dark ones."""
    for row, cells in enumerate(texts):
        for column, text in enumerate(cells):
            color = "white" if shares[row, column] > HALF else "black"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=fontsize, in_layout=False)


def _panels(
    evaluation: Evaluation,
    draw: Callable[[Axes, int], None],
    xlabel: str,
    ylabel: str,
    scale: dict[str, Any],
    drawn_if_missing: bool = False,
) -> Figure:
    """Draws one small panel for each label, with its name and threshold above.

    Args:
        evaluation: What to draw.
        draw: Draws a label into its panel.
        xlabel: Name of the axis of all panels.
        ylabel: The same.
        scale: Limits and ticks of all panels.
        drawn_if_missing: Whether to draw labels that are known, but on no image.
    """
    labels = drawn_labels(evaluation)
    figure, panels = _grid(len(labels), which_labels(evaluation), xlabel, ylabel)
    panels[0].set(**scale)  # and thereby the others, too
    for axes, label in zip(panels, labels, strict=True):
        name = shortened(evaluation.labels[label], NAME_LENGTH)
        words = f"{name}\nthreshold {evaluation.thresholds[label]:.2f}"
        title = axes.set_title(words, y=1)  # without y, ticks are searched for what is in its way
        write_within(axes, title, PANEL + BETWEEN)
        known = bool(evaluation.known[:, label].any())
        if (known and drawn_if_missing) or evaluation.truth[:, label].any():
            draw(axes, label)
        else:
            reason = ON_NO_IMAGE if known else UNKNOWN
            axes.text(0.5, 0.5, reason, ha="center", va="center", color="grey", transform=axes.transAxes)
    return figure


def _grid(count: int, title: str, xlabel: str, ylabel: str) -> tuple[Figure, list[Axes]]:
    """Returns a figure and its panels, which share their axes: the outer ones alone have numbers.

    Places are given in inches, as finding them by what is drawn would take longer than to draw it.
    """
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    width = LEFT + columns * (PANEL + BETWEEN)
    height = EDGE + (WHICH if title else 0) + rows * (ABOVE + PANEL) + BOTTOM
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        *(rows, columns),
        left=LEFT / width,
        right=1 - BETWEEN / width,
        bottom=BOTTOM / height,
        top=(BOTTOM + rows * PANEL + (rows - 1) * ABOVE) / height,
        wspace=BETWEEN / PANEL,
        hspace=ABOVE / PANEL,
    )
    panels: list[Axes] = []
    for index in range(count):
        first = panels[0] if panels else None
        axes = figure.add_subplot(grid[index // columns, index % columns], sharex=first, sharey=first)
        axes.tick_params(labelsize=CAPTION, labelleft=index % columns == 0, labelbottom=index + columns >= count)
        panels.append(axes)
    figure.suptitle(title, y=1 - EDGE / height)
    figure.supxlabel(xlabel, y=EDGE / height)
    figure.supylabel(ylabel, x=EDGE / width)
    return figure, panels
