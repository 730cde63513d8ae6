"""Figures of an evaluation: where the model is right, where it is wrong, and how sure it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from multilabel_pl.atomic import atomic_path
from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.file_names import CURVES
from multilabel_pl.messages import shortened
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.model.prediction import name_tags
from multilabel_pl.model.reliability import BINS, reliability
from multilabel_pl.results.figures import BEFORE, MODEL, REFERENCE, image_name, plain_text, save_figure
from multilabel_pl.results.image_sheet import Cell, image_sheet
from multilabel_pl.results.label_plots import (
    confusion_figure,
    cooccurrence_figure,
    drawn_labels,
    f1_figure,
    precision_recall_figure,
    which_labels,
)
from multilabel_pl.results.prediction_plots import TaggedImage, contact_sheet
from multilabel_pl.results.text import listed
from multilabel_pl.results.training_plots import training_figure
from multilabel_pl.results.true_tags import name_true_tags

DPI = 120
SHEET_IMAGES = 50
MISTAKES, MISTAKES_A_ROW, MISTAKE_INCHES = 25, 5, 2.0
TITLE_LENGTH, NAME_LENGTH = 28, 14  # of a line above or below an image, and of a label in it
NO_BREAK = "\u00a0"


class Drawn(NamedTuple):
    """A figure, the name of its file without suffix, and what it shows."""

    name: str
    figure: Figure
    caption: str


def write_figures(
    evaluation: Evaluation, images: LabelledDataset | None, folder: Path, epoch: int | None = None
) -> dict[str, str]:
    """Draws an evaluation into a folder of a run; see `draw_evaluation`.

    Returns:
        What each figure shows, by the name of its file.
    """
    captions = {}
    with plain_text():
        for name, figure, caption in draw_evaluation(evaluation, images, folder.parent, epoch):
            captions[f"{name}.png"] = caption
            with atomic_path(folder / f"{name}.png") as partial:
                save_figure(figure, partial, DPI)
    return captions


def draw_evaluation(
    evaluation: Evaluation, images: LabelledDataset | None, run: Path, epoch: int | None = None
) -> Iterator[Drawn]:
    """Draws all figures of an evaluation for which there is something to draw.

    Args:
        evaluation: What to draw.
        images: The images evaluated, in the order of the evaluation; without them, none are shown.
        run: Folder of the run, with its metrics.csv; without that, no curves are shown.
        epoch: The epoch after which the checkpoint was saved, from 1.
    """
    which = which_labels(evaluation)
    names = ", ".join(evaluation.labels[label] for label in drawn_labels(evaluation))
    shown, same = (f" Shown are {which}: {names}.", " The labels are the same.") if which else ("", "")
    yield Drawn(
        "precision_recall",
        precision_recall_figure(evaluation),
        f"Precision against recall; the dot is the threshold.{shown}",
    )
    yield Drawn("f1", f1_figure(evaluation), f"F1 by threshold; the dot is the chosen one, the line 0.5.{same}")
    yield Drawn("confusion", confusion_figure(evaluation), f"Images by their true and predicted tag.{same}")
    if len(evaluation.labels) > 1:
        caption = "Of the images that carry a label, the share with each other label."
        yield Drawn("cooccurrence", cooccurrence_figure(evaluation), f"{caption}{same}")
    if evaluation.known.any():
        yield Drawn("reliability", reliability_figure(evaluation), "How often decisions of a probability are positive.")
    if images is not None and evaluation.wrong.any():
        caption = "The wrongly tagged images with the highest loss; mistakes.csv lists all."
        yield Drawn("mistakes", mistakes_figure(evaluation, images), caption)
    if images is not None:
        yield Drawn("images", _sheet(evaluation, images), "Some images and their tags, in red where one is wrong.")
    if (run / CURVES).is_file():
        yield Drawn("training", training_figure(run / CURVES, epoch), "The curves of the run.")


def _sheet(evaluation: Evaluation, images: LabelledDataset) -> Figure:
    """Draws images from all over the set, as it may be in the order of its labels."""
    count = len(evaluation.targets)
    numbers = torch.linspace(0, count - 1, min(SHEET_IMAGES, count)).long().tolist()
    items = [
        TaggedImage(images[i][0], image_name(images, i), evaluation.targets[i], evaluation.probabilities[i])
        for i in numbers
    ]
    return contact_sheet(items, evaluation.labels, evaluation.thresholds)


def reliability_figure(evaluation: Evaluation) -> Figure:
    """Draws the share of positives, with intervals, against the probability of all decisions, and their numbers."""
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(5, 2))
    upper.plot([0, 1], [0, 1], color=REFERENCE, zorder=0)
    if evaluation.decision.calibrate:
        before = reliability(evaluation.uncalibrated.sigmoid(), evaluation.targets)
        shares = [each.share.value for each in before]
        upper.plot([each.probability for each in before], shares, "o-", color=BEFORE, label="before calibration")
    bins = evaluation.bins
    count, probability = [each.size for each in bins], [each.probability for each in bins]
    share, low, high = torch.tensor([each.share for each in bins]).T
    upper.plot(probability, share, "o-", color=MODEL, label="the model")
    bars = torch.stack([share - low, high - share]).clamp(min=0).numpy()
    upper.errorbar(probability, share, bars, fmt="none", ecolor="black", capsize=2)
    upper.legend(frameon=False)
    upper.set(ylabel="share of positives, with 95 % intervals", ylim=(-0.02, 1.02))
    title = f"expected calibration error {evaluation.metrics['calibration_error']:.4f}"
    if evaluation.decision.calibrate:
        title += f" ({evaluation.metrics['calibration_error_uncalibrated']:.4f} before)"
    upper.set_title(title)
    edges = [i / BINS for i in range(BINS)]
    drawn = lower.bar(edges, count, align="edge", width=1 / BINS, color=MODEL, edgecolor="white")
    lower.bar_label(drawn, [f"{number:,}" for number in count], rotation=90, padding=3, fontsize=8)
    highest = max(10, *count)
    lower.set_yscale("log")
    lower.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))  # the usual one writes formulas
    lower.set(xlabel="probability", ylabel="decisions", xlim=(-0.02, 1.02), ylim=(0.5, highest**1.6))
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def mistakes_figure(evaluation: Evaluation, images: LabelledDataset) -> Figure:
    """Draws the wrongly tagged images with the highest loss: above their names and true tags, below what is wrong."""
    wrong = evaluation.wrong
    cells = []
    for index in evaluation.worst_first[0][:MISTAKES].tolist():
        [true] = name_true_tags(evaluation.targets[index, None], evaluation.labels)
        above = f"{shortened(image_name(images, index), TITLE_LENGTH)}\n{listed(true, TITLE_LENGTH, lines=2)}"
        cells.append(Cell(images[index][0], above, below=_mistakes(evaluation, index)))
    title = f"{int(wrong.sum()):,} of {len(wrong):,} images have a wrong tag; those with the highest loss"
    return image_sheet(cells, MISTAKES_A_ROW, MISTAKE_INCHES, title=title)


def _mistakes(evaluation: Evaluation, index: int) -> str:
    """Says which tags of an image are missing, and which are wrong, with their probabilities."""
    lines = []
    for kind, chosen in {"missed": evaluation.missed[index], "wrong": evaluation.mistaken[index]}.items():
        [names] = name_tags(chosen[None], evaluation.labels)
        named = zip(names, evaluation.probabilities[index, chosen].tolist(), strict=True)
        texts = [f"{shortened(name, NAME_LENGTH)}{NO_BREAK}({probability:.2f})" for name, probability in named]
        if texts:
            lines.append(listed([f"{kind} {texts[0]}", *texts[1:]], TITLE_LENGTH, lines=2))
    return "\n".join(lines)
