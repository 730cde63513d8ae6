"""Figures of labels: a small panel for each, or a row and a column."""

import math
from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.functional.classification import binary_confusion_matrix, binary_precision_recall_curve

from multilabel_pl.messages import shortened
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.metrics import HALF, precision_recall_f1
from multilabel_pl.results.figures import MODEL, REFERENCE

COLUMNS = 4
PANEL_INCHES = 2.3
NAME_LENGTH = 26
MAX_PANELS = 24  # with more labels, those with the most positives
ZOOMS = (0.98, 0.95, 0.9, 0.8, 0.5)  # from where axes may begin
GRID = 201  # thresholds that F1 is drawn at
MATRIX_INCHES, MIN_MATRIX_INCHES = 0.32, 2.0
MAX_NUMBERED = 12  # labels whose matrix has numbers in it
SHARES = "of the images with a row's true tag, the share with a column's tag"
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
        axes.set(xlim=limits, ylim=limits)
        known = evaluation.known[:, label]
        decisions = evaluation.probabilities[known, label], evaluation.truth[known, label].int()
        precision, recall, _ = binary_precision_recall_curve(*decisions)
        axes.plot(recall.numpy(), precision.numpy(), color=MODEL)
        axes.plot(chosen["recall"][label].item(), chosen["precision"][label].item(), "o", color="black")

    figure = _panels(evaluation, draw)
    note = f", from {start:g}" if start else ""
    figure.supxlabel(f"recall{note}")
    figure.supylabel(f"precision{note}")
    return figure


def _zoom(evaluation: Evaluation, chosen: dict[str, Tensor]) -> float:
    """Returns where both axes begin: the average precision and the thresholds of all drawn labels lie well above."""
    average_precision, _ = evaluation.label_rankings
    values = torch.stack([average_precision, chosen["precision"], chosen["recall"]])[:, drawn_labels(evaluation)]
    lowest = values.nan_to_num(1).min().item()
    return next((start for start in ZOOMS if lowest >= start + (1 - start) / 4), 0.0)


def f1_figure(evaluation: Evaluation) -> Figure:
    """Draws each label's F1 against its threshold, with the chosen one."""
    targets = evaluation.targets
    grid = torch.linspace(0, 1, GRID)
    chosen = evaluation.label_decisions["f1"].nan_to_num(0)

    def draw(axes: Axes, label: int) -> None:
        tags = evaluation.probabilities[:, label] >= grid[:, None]  # (thresholds, N)
        f1 = precision_recall_f1(tags, targets[:, label].expand_as(tags), dim=1)["f1"].nan_to_num(0)
        axes.axvline(HALF, color=REFERENCE, zorder=0)
        axes.plot(grid.numpy(), f1.numpy(), color=MODEL)
        axes.plot(evaluation.thresholds[label].item(), chosen[label].item(), "o", color="black")
        axes.set(xlim=(-0.04, 1.04), ylim=(0, 1.04))

    figure = _panels(evaluation, draw)
    figure.supxlabel("threshold")
    figure.supylabel("F1")
    return figure


def confusion_figure(evaluation: Evaluation) -> Figure:
    """Draws a confusion matrix for each label: the truth in rows, the tags in columns."""

    def draw(axes: Axes, label: int) -> None:
        known = evaluation.known[:, label]
        tags, truth = evaluation.tags[known, label].int(), evaluation.truth[known, label].int()
        counts = binary_confusion_matrix(tags, truth)  # (2, 2)
        shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
        axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
        _write_cells(axes, shares, [[f"{count:,}" for count in row] for row in counts.tolist()])
        axes.set_xticks([0, 1], ["no", "yes"])
        axes.set_yticks([0, 1], ["no", "yes"])

    figure = _panels(evaluation, draw, drawn_if_missing=True)
    figure.supxlabel("tagged")
    figure.supylabel("true")
    return figure


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
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=fontsize)


def _panels(evaluation: Evaluation, draw: Callable[[Axes, int], None], drawn_if_missing: bool = False) -> Figure:
    """Draws one small panel for each label, with its name and threshold above."""
    labels = drawn_labels(evaluation)
    columns = min(COLUMNS, len(labels))
    rows = math.ceil(len(labels) / columns)
    figure = Figure(figsize=(PANEL_INCHES * columns, PANEL_INCHES * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(labels) :]:
        axes.set_axis_off()
    for axes, label in zip(panels, labels, strict=False):
        name = shortened(evaluation.labels[label], NAME_LENGTH)
        axes.set_title(f"{name}\nthreshold {evaluation.thresholds[label]:.2f}", fontsize=9)
        known = bool(evaluation.known[:, label].any())
        if (known and drawn_if_missing) or evaluation.truth[:, label].any():
            draw(axes, label)
        else:
            reason = ON_NO_IMAGE if known else UNKNOWN
            axes.text(0.5, 0.5, reason, ha="center", va="center", color="grey", transform=axes.transAxes)
    figure.suptitle(which_labels(evaluation))
    return figure
