"""The folder of an evaluation: its report, metrics, mistakes and figures."""

from pathlib import Path

from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.label_errors import FILE, write_label_errors
from multilabel_pl.results.mistakes import write_mistakes
from multilabel_pl.results.report import all_metrics, report, write_metrics, write_report


def write_evaluation(
    evaluation: Evaluation,
    images: LabelledDataset | None,
    folder: Path,
    title: str,
    prefix: str,
    learned_here: bool = False,
    figures: bool = True,
    epoch: int | None = None,
    label_errors: bool = False,
) -> None:
    """Writes report.md, metrics.json, mistakes.csv and the figures.

    Args:
        evaluation: What to write.
        images: The images evaluated, in the order of the evaluation, if they are to be shown and named.
        folder: Where to; the curves of the run are those of metrics.csv in the folder around it.
        title: Of the report.
        prefix: What the names of the metrics begin with, `val` or `test`.
        learned_here: Whether thresholds were learned from these very images.
        figures: Whether to draw figures.
        epoch: The epoch after which the checkpoint was saved, from 1.
        label_errors: Whether to search for decisions of the data that are likely wrong.
    """
    metrics = {f"{prefix}_{name}": value for name, value in all_metrics(evaluation).items()}
    write_metrics(metrics, folder / "metrics.json")
    write_mistakes(evaluation, images, folder / "mistakes.csv")
    drawn = {}
    if figures:
        from multilabel_pl.results.evaluation_plots import write_figures  # matplotlib takes a while to import

        drawn = write_figures(evaluation, images, folder, epoch)
    sections = [f"# {title}", report(evaluation, learned_here)]
    if label_errors:
        sections.append(write_label_errors(evaluation, images, folder / FILE))
    write_report("\n\n".join(sections), drawn, folder / "report.md")
