"""Figures of an evaluation: where the model is right, where it is wrong, and how sure it is."""

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torchmetrics.functional.classification import binary_confusion_matrix, binary_precision_recall_curve

from multilabel_pl.atomic import atomic_path
from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.intervals import wilson
from multilabel_pl.model.metrics import CALIBRATION_BINS, precision_recall_f1
from multilabel_pl.model.prediction import name_tags
from multilabel_pl.results.figures import image_name, plain_text, show_image
from multilabel_pl.results.text import listed, shortened

MODEL, BEFORE, REFERENCE, WRONG = "tab:blue", "tab:orange", "lightgrey", "tab:red"
COLUMNS = 4
PANEL_INCHES = 2.3
PANEL_NAME_LENGTH = 26
MAX_PANELS = 24  # with more labels, those with the most positives
MISTAKES = 5  # rows and columns
TITLE_LENGTH, NAME_LENGTH = 28, 14  # of a line above or below an image, and of a label in it
NO_BREAK = "\u00a0"
CURVES = {"loss": {"train_loss": REFERENCE, "val_loss": MODEL}, "exact match": {"val_exact_match": MODEL}}


def write_figures(evaluation: Evaluation, images: LabelledDataset | None, folder: Path) -> list[str]:
    """Draws an evaluation into a folder of a run, and returns the names of the files; see `draw_evaluation`."""
    names = []
    with plain_text():
        for name, figure in draw_evaluation(evaluation, images, run=folder.parent):
            names.append(f"{name}.png")
            with atomic_path(folder / names[-1]) as partial:
                figure.savefig(partial, dpi=120)
    return names


def draw_evaluation(evaluation: Evaluation, images: LabelledDataset | None, run: Path) -> Iterator[tuple[str, Figure]]:
    """Draws all figures of an evaluation for which there is something to draw, each with its name.

    Args:
        evaluation: What to draw.
        images: The images evaluated, in the order of the evaluation; without them, or mistakes, none are shown.
        run: Folder of the run, with its metrics.csv; without that, no curves are shown.
    """
    yield "precision_recall", precision_recall_figure(evaluation)
    yield "confusion", confusion_figure(evaluation)
    yield "reliability", reliability_figure(evaluation)
    if images is not None and evaluation.wrong.any():
        yield "mistakes", mistakes_figure(evaluation, images)
    if (run / "metrics.csv").is_file():
        yield "training", training_figure(run / "metrics.csv")


def precision_recall_figure(evaluation: Evaluation) -> Figure:
    """Draws a precision-recall curve for each label, with the threshold on it."""
    truth = evaluation.targets.int()
    chosen = precision_recall_f1(evaluation.tags, truth.bool(), dim=0)

    def draw(axes: Axes, label: int) -> None:
        axes.set(xlim=(0, 1.04), ylim=(0, 1.04))
        name = shortened(evaluation.labels[label], PANEL_NAME_LENGTH)
        axes.set_title(f"{name}\nthreshold {evaluation.thresholds[label]:.2f}", fontsize=9)
        if not truth[:, label].any():
            axes.text(0.5, 0.5, "on no image", ha="center", va="center", color="grey")
            return
        precision, recall, _ = binary_precision_recall_curve(evaluation.probabilities[:, label], truth[:, label])
        axes.plot(recall.numpy(), precision.numpy(), color=MODEL)
        axes.plot(chosen["recall"][label].item(), chosen["precision"][label].item(), "o", color="black")

    figure = _panels(evaluation, draw)
    figure.supxlabel("recall")
    figure.supylabel("precision")
    return figure


def confusion_figure(evaluation: Evaluation) -> Figure:
    """Draws a confusion matrix for each label: the truth in rows, the tags in columns."""
    truth = evaluation.targets.int()
    tags = evaluation.tags.int()

    def draw(axes: Axes, label: int) -> None:
        counts = binary_confusion_matrix(tags[:, label], truth[:, label])  # (2, 2)
        shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
        axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=color)
        axes.set_title(shortened(evaluation.labels[label], PANEL_NAME_LENGTH), fontsize=9)
        axes.set_xticks([0, 1], ["no", "yes"])
        axes.set_yticks([0, 1], ["no", "yes"])

    figure = _panels(evaluation, draw)
    figure.supxlabel("tagged")
    figure.supylabel("true")
    return figure


def reliability_figure(evaluation: Evaluation) -> Figure:
    """Draws the share of positives, with intervals, against the probability of all decisions, and their numbers."""
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(5, 2))
    upper.plot([0, 1], [0, 1], color=REFERENCE, zorder=0)
    if evaluation.decision.calibrate:
        probability, share, _ = _reliability(evaluation.uncalibrated.sigmoid(), evaluation.targets)
        upper.plot(probability, share, "o-", color=BEFORE, label="before calibration")
    probability, share, count = _reliability(evaluation.probabilities, evaluation.targets)
    low, high = wilson(share, count)
    bars = torch.stack([share - low, high - share]).clamp(min=0).numpy()
    upper.plot(probability, share, "o-", color=MODEL, label="the model")
    upper.errorbar(probability, share, bars, fmt="none", ecolor="black", capsize=2)
    upper.legend(frameon=False)
    upper.set(ylabel="share of positives, with 95 % intervals", ylim=(-0.02, 1.02))
    title = f"expected calibration error {evaluation.metrics['calibration_error']:.4f}"
    if evaluation.decision.calibrate:
        title += f" ({evaluation.metrics['calibration_error_uncalibrated']:.4f} before)"
    upper.set_title(title)
    edges = [i / CALIBRATION_BINS for i in range(CALIBRATION_BINS)]
    drawn = lower.bar(edges, count.tolist(), align="edge", width=1 / CALIBRATION_BINS, color=MODEL, edgecolor="white")
    lower.bar_label(drawn, [f"{int(number):,}" for number in count], rotation=90, padding=3, fontsize=8)
    highest = max(10.0, count.max().item())
    lower.set(yscale="log", xlabel="probability", ylabel="decisions", xlim=(-0.02, 1.02), ylim=(0.5, highest**1.6))
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _reliability(probabilities: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Counts the decisions (N, L) in bins of their probability.

    Returns:
        The mean probability and the share of positives of each bin, NaN where it is empty, and how many it holds.
    """
    bins = (probabilities.flatten() * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
    weights = (None, probabilities.flatten(), targets.flatten())
    count, likely, true = (torch.bincount(bins, weight, minlength=CALIBRATION_BINS).double() for weight in weights)
    return likely / count, true / count, count


def mistakes_figure(evaluation: Evaluation, images: LabelledDataset) -> Figure:
    """Draws the wrongly tagged images with the highest loss: above their names and true tags, below what is wrong."""
    truth = evaluation.targets.bool()
    losses = F.binary_cross_entropy_with_logits(evaluation.logits, evaluation.targets, reduction="none")  # (N, L)
    loss = losses.sum(dim=1)
    wrong = evaluation.wrong
    worst = loss.where(wrong, -1.0).topk(min(MISTAKES**2, int(wrong.sum()))).indices.tolist()
    rows = math.ceil(len(worst) / MISTAKES)
    figure = Figure(figsize=(2.0 * MISTAKES, 2.8 * rows + 0.4), layout=ConstrainedLayoutEngine(h_pad=0.1))
    panels = list(figure.subplots(rows, MISTAKES, squeeze=False).flat)
    for axes in panels[len(worst) :]:
        axes.set_axis_off()
    for axes, index in zip(panels, worst, strict=False):
        image, _ = images[index]
        show_image(axes, image)
        [true] = name_tags(truth[index, None], evaluation.labels)
        name = shortened(image_name(images, index), TITLE_LENGTH)
        axes.set_title(f"{name}\n{listed(true, TITLE_LENGTH, lines=2)}", fontsize=9)
        axes.set_xlabel(_mistakes(evaluation, index), fontsize=9, color=WRONG)
    figure.suptitle(f"{int(wrong.sum()):,} of {len(wrong):,} images have a wrong tag; those with the highest loss")
    return figure


def _mistakes(evaluation: Evaluation, index: int) -> str:
    """Says which tags of an image are missing, and which are wrong, with their probabilities."""
    tags, truth = evaluation.tags[index], evaluation.targets[index].bool()
    lines = []
    for kind, chosen in {"missed": truth & ~tags, "wrong": tags & ~truth}.items():
        [names] = name_tags(chosen[None], evaluation.labels)
        named = zip(names, evaluation.probabilities[index, chosen].tolist(), strict=True)
        texts = [f"{shortened(name, NAME_LENGTH)}{NO_BREAK}({probability:.2f})" for name, probability in named]
        if texts:
            lines.append(listed([f"{kind} {texts[0]}", *texts[1:]], TITLE_LENGTH, lines=2))
    return "\n".join(lines)


def training_figure(metrics_csv: Path) -> Figure:
    """Draws the curves of a run from its metrics.csv."""
    with metrics_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        for name, color in curves.items():
            steps, values = _curve(rows, name)
            if steps:  # a short run logs no training loss
                axes.plot(steps, values, ".-", label=name, color=color)
        axes.set(xlabel="step", ylabel=title)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False)
    return figure


def _curve(rows: list[dict[str, str]], name: str) -> tuple[list[int], list[float]]:
    """Returns the steps and values of a column that is empty in most rows."""
    filled = [row for row in rows if row.get(name)]
    return [int(row["step"]) for row in filled], [float(row[name]) for row in filled]


def _panels(evaluation: Evaluation, draw: Callable[[Axes, int], None]) -> Figure:
    """Draws one small panel for each label."""
    frequent = evaluation.targets.sum(dim=0).argsort(descending=True, stable=True)[:MAX_PANELS]
    labels = sorted(frequent.tolist())
    rows = math.ceil(len(labels) / COLUMNS)
    figure = Figure(figsize=(PANEL_INCHES * COLUMNS, PANEL_INCHES * rows), layout="constrained")
    panels = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for axes in panels[len(labels) :]:
        axes.set_axis_off()
    for axes, label in zip(panels, labels, strict=False):
        draw(axes, label)
    if len(labels) < len(evaluation.labels):
        figure.suptitle(f"the {len(labels)} of {len(evaluation.labels)} labels that most images carry")
    return figure
