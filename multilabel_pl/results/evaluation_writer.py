"""The folder of an evaluation: its report, metrics, mistakes and figures."""

from dataclasses import dataclass
from pathlib import Path

from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.errors import InputError, check_extra
from multilabel_pl.file_names import METRICS, OUTPUTS, PAGE, REPORT
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results import label_errors
from multilabel_pl.results.heat_maps import Explain
from multilabel_pl.results.mistakes import write_mistakes
from multilabel_pl.results.origin import Origin
from multilabel_pl.results.outputs import write_outputs
from multilabel_pl.results.report import all_metrics, report, write_metrics, write_report
from multilabel_pl.results.text import as_markdown

FIGURES = (  # that there may be
    *("precision_recall.png", "f1.png", "confusion.png", "cooccurrence.png"),
    *("reliability.png", "mistakes.png", "images.png", "training.png"),
)


@dataclass(frozen=True)
class EvaluationOutput:
    """What an evaluation is asked to write, beside its report, metrics and mistakes.

    Args:
        figures: Whether to draw figures, and to write the report as a page, too.
        label_errors: Whether to search for decisions of the data that are likely wrong.
        explain: Whether the page has a heat map of each mistake.

    Raises:
        InputError: If packages are needed and not installed, or heat maps have no page to be on.
    """

    figures: bool = True
    label_errors: bool = False
    explain: bool = False

    def __post_init__(self) -> None:
        if self.label_errors:
            check_extra("cleanlab", "the search for label errors")
        if self.explain:
            check_extra("explain", "an explanation")
        if self.explain and not self.figures:
            raise InputError("explain draws in report.html, which figures false leaves out: leave out one of them")


def write_evaluation(
    evaluation: Evaluation,
    images: LabelledDataset | None,
    origin: Origin,
    folder: Path,
    output: EvaluationOutput,
    prefix: str,
    learned_here: bool = False,
    explain: Explain | None = None,
) -> str:
    """Writes report.md, report.html, metrics.json, mistakes.csv, outputs.npz and the figures.

    Args:
        evaluation: What to write.
        images: The images evaluated, in the order of the evaluation, if they are to be shown and named.
        origin: What was evaluated.
        folder: Where to; its name is the command, and the curves of the run are those of metrics.csv around it.
        output: What to write.
        prefix: What the names of the metrics begin with, `val` or `test`.
        learned_here: Whether thresholds were learned from these very images.
        explain: What makes heat maps of the mistakes, if they are asked for.

    Returns:
        The report, in Markdown.
    """
    metrics = {f"{prefix}_{name}": value for name, value in all_metrics(evaluation).items()}
    write_metrics(metrics, folder / METRICS)
    write_mistakes(evaluation, images, folder / "mistakes.csv")
    write_outputs(evaluation, images, origin, folder / OUTPUTS)
    title = origin.title(folder.name)
    text = report(evaluation, learned_here)
    sections = [f"# {as_markdown(title)}", text]
    found = label_errors.find_label_errors(evaluation) if output.label_errors else None
    if found is not None:
        sections.append(label_errors.write_label_errors(evaluation, found, images, folder / label_errors.FILE))
    drawn = {}
    if output.figures:
        from multilabel_pl.results import evaluation_plots, html_report  # matplotlib takes a while to import

        drawn = evaluation_plots.write_figures(evaluation, images, folder, origin.epoch)
    write_report("\n\n".join(sections), drawn, folder / REPORT)
    if output.figures:
        page = folder / PAGE
        html_report.write_html_report(evaluation, images, origin, page, title, learned_here, found, explain)
    written = {*drawn, PAGE if output.figures else "", label_errors.FILE if found is not None else ""}
    for earlier in {*FIGURES, PAGE, label_errors.FILE} - written:  # which would be taken for a part of this one
        (folder / earlier).unlink(missing_ok=True)
    return text
