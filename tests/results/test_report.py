import json
import math
from html import escape
from pathlib import Path

import pytest
import torch
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.report import all_metrics, report, write_metrics, write_report
from multilabel_pl.results.report_content import LEARNED_HERE
from multilabel_pl.results.text import display_width, table

TARGETS = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
LOGITS = torch.tensor([[2.0, -2, -1], [3, -3, -1], [-1, 1, -1], [1, -2, -1]])
EVALUATION = Evaluation(Decision(["cat", "a|b", "owl"], [0.8, 0.5, 0.5], False), LOGITS, TARGETS, torch.tensor(0.5))


def cells(report: str, name: str) -> list[str]:
    """Returns the cells of a metric's row."""
    [row] = [line for line in report.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_a_report_shows_the_thresholds_beside_one_half() -> None:
    text = report(EVALUATION)
    assert text.startswith("4 images; thresholds as given.\n\n| decisions ")
    assert cells(text, "exact_match") == ["0.7500", "0.3006–0.9544", "0.5000", "0.1500–0.8500"]  # Wilson's
    assert cells(text, "label_accuracy") == ["0.9167", "", "0.8333", ""]
    assert cells(text, "loss") == ["0.5000", ""]
    assert "Predicting no tag at all has a label_accuracy of 0.6667." in text.splitlines()
    assert "label_accuracy_of_no_tags" not in text


def test_a_report_says_what_thresholds_gain_against_one_half() -> None:
    assert "\n- no certain difference in exact_match (-0.174" in report(EVALUATION)
    many = (LOGITS.repeat(100, 1), TARGETS.repeat(100, 1), torch.tensor(0.5))
    lines = report(Evaluation(EVALUATION.decision, *many)).splitlines()
    assert "- a gain of 0.2500 in exact_match (0.2076 to 0.2924)" in lines
    lines = report(Evaluation(Decision(["cat", "dog", "owl"], [0.5, 0.9, 0.5], False), *many)).splitlines()
    assert "- a loss of 0.2500 in exact_match (0.2076 to 0.2924)" in lines
    assert "- no difference in f1_micro" in report(
        Evaluation(Decision(["cat", "dog", "owl"], [0.5, 0.501, 0.5], False), *many)
    )
    assert "against 0.5" not in report(Evaluation(Decision(["cat", "dog", "owl"], 0.5, False), *many))


def test_few_images_make_no_gain_certain() -> None:
    for changed, certain in ((9, False), (10, True)):
        logits = torch.full((100, 1), -3.0)
        logits[: 20 + changed] = torch.tensor([[3.0]] * 20 + [[0.5]] * changed)
        targets = (torch.arange(100) < 20).float()[:, None]
        text = report(Evaluation(Decision(["cat"], 0.7, False), logits, targets, torch.tensor(0.5)))
        assert (f"a gain of 0.{changed:02}00 in exact_match" in text) == certain
        assert ("no certain difference in exact_match (0.03" in text) == (not certain)


def test_a_report_states_what_is_promised() -> None:
    decision = Decision(["cat", "dog", "owl"], "recall>=0.5@0.6 jointly", calibrate=False)
    promise = "with a confidence of 0.6, every label has a recall of at least 0.5;"
    assert promise not in report(Evaluation(decision, LOGITS, TARGETS, torch.tensor(0.5)))  # nothing is learned yet
    decision.fit(LOGITS, TARGETS)
    text = report(Evaluation(decision, LOGITS, TARGETS, torch.tensor(0.5)))
    assert text.startswith("4 images; thresholds by recall>=0.5@0.6 jointly.\n")
    assert promise in text
    assert "With too few images: every image is tagged with cat (2), dog (2), owl (0)." in text
    decision.fit(LOGITS.repeat(9, 1), TARGETS.repeat(9, 1))
    assert "every image is tagged with owl (0)." in report(Evaluation(decision, LOGITS, TARGETS, torch.tensor(0.5)))


def test_a_report_says_that_its_images_taught_the_thresholds() -> None:
    assert LEARNED_HERE in report(EVALUATION, learned_here=True)
    assert LEARNED_HERE not in report(EVALUATION)


def test_bounds_of_intervals_are_metrics_too() -> None:
    metrics = all_metrics(Evaluation(EVALUATION.decision, LOGITS.repeat(9, 1), TARGETS.repeat(9, 1), torch.tensor(0.5)))
    for name in ("exact_match", "exact_match_at_half", "f1_macro", "f1_micro", "map"):
        assert metrics[f"{name}_low"] < metrics[name] <= metrics[f"{name}_high"]
    assert len([name for name in metrics if name.endswith(("_low", "_high"))]) == 14


def test_means_over_rare_labels_have_no_interval() -> None:
    text = report(EVALUATION)
    assert cells(text, "f1_macro")[1] == "–"
    assert cells(text, "map")[1] == "–"
    assert "No interval of means over labels: fewer than 10 images carry 2 of them." in text
    assert "f1_macro (" not in text
    assert math.isnan(all_metrics(EVALUATION)["map_low"])


def test_each_label_has_a_row_and_a_dash_where_nothing_is_defined() -> None:
    _, _, cat, other, owl = report(EVALUATION).rpartition("\n\n")[2].splitlines()
    assert [cell.strip() for cell in cat.split(" | ")][:6] == ["| cat", "2", "0.8000", "1.0000", "1.0000", "1.0000"]
    assert other.startswith("| a\\|b  | ")  # as Markdown has it within a table
    assert [cell.strip(" |") for cell in owl.split(" | ")] == ["owl", "0", "0.5000", *["–"] * 8]
    assert len({len(line) for line in (cat, other, owl)}) == 1
    decision = Decision(["cat", "dog", "owl"], [0.5, 1.0, 0.1], calibrate=False)  # dog is never tagged, owl always
    _, _, _, dog, owl = (
        report(Evaluation(decision, LOGITS, TARGETS, torch.tensor(0.5))).rpartition("\n\n")[2].splitlines()
    )
    assert [cell.strip() for cell in dog.split("|")][4:7] == ["–", "0.0000", "0.0000"]
    assert [cell.strip() for cell in owl.split("|")][4:7] == ["0.0000", "–", "0.0000"]


def test_a_report_says_how_many_decisions_are_known() -> None:
    targets = torch.tensor(
        [[1.0, torch.nan, torch.nan], [1, 1, torch.nan], [0, torch.nan, torch.nan], [0, 0, torch.nan]]
    )
    text = report(Evaluation(EVALUATION.decision, LOGITS, targets, torch.tensor(0.5)))
    assert text.startswith(
        "4 images; thresholds as given.\n\n6 of 12 decisions are known; the others take no part.\n\n| decisions "
    )
    header, _, *rows = (
        [cell.strip() for cell in line.split(" | ")] for line in text.rpartition("\n\n")[2].splitlines()
    )
    assert header[:4] == ["| label", "images", "known", "threshold"]
    assert [row[1:3] for row in rows] == [["2", "4"], ["1", "2"], ["0", "0"]]
    assert [cell.strip(" |") for cell in rows[2][3:]] == ["0.5000", *["–"] * 8]
    assert "Predicting no tag at all has a label_accuracy of 0.5000." in text.splitlines()
    assert "known" not in report(EVALUATION)


def test_metrics_that_are_not_finite_are_null(tmp_path: Path) -> None:
    write_metrics({"val_loss": 0.25, "val_auroc": float("nan"), "val_map": float("inf")}, tmp_path / "new" / "m.json")
    assert json.loads((tmp_path / "new" / "m.json").read_text(encoding="utf-8")) == {
        "val_loss": 0.25,
        "val_auroc": None,
        "val_map": None,
    }


def test_a_page_shows_its_figures_with_what_they_show(tmp_path: Path) -> None:
    write_report("# test", {"precision_recall.png": "A curve."}, tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text == "# test\n\n![precision recall](precision_recall.png)\n\nA curve.\n"


def an_evaluation(labels: list[str]) -> Evaluation:
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(500, len(labels), generator=generator) < 0.2).float()
    logits = torch.randn(500, len(labels), generator=generator) + 2 * targets
    return Evaluation(Decision(labels, 0.5, False), logits, targets, torch.tensor(0.5))


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_tables_fit_the_screen(width: int) -> None:
    labels = ["a|b", "long-haired pointer with a very long name of its own", "日本語のタグ", "👍 thumbs", "$5_$10"]
    lines = report(an_evaluation(labels), width=width).splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert max(map(display_width, tables)) <= width
    named = [line for line in tables if "日本語のタグ" in line or "$5_$10" in line]
    assert len({display_width(line) for line in named}) == 1
    assert sum(line.count("|") for line in tables) < sum(
        line.count("|") for line in report(an_evaluation(labels)).splitlines()
    )


def test_what_could_be_markup_or_control_a_terminal_is_escaped() -> None:
    name = "<img src=x>|[a](b)\x1b[31m\n*"
    [_, _, row] = table(["label", "F1"], [[name, "1"]]).splitlines()
    assert row == r"| \<img src=x>\|\[a](b)\\x1b\[31m \* |  1 |"
    [_, _, row] = table(["label", "F1"], [[name, "1"]], width=120).splitlines()
    assert row == r"| <img src=x>|[a](b)\x1b[31m * |  1 |"  # on a screen, markup is none


@pytest.mark.parametrize(
    "name",
    [
        "*very* good",
        "_a_ b",
        "`x`",
        "$x$ or $5",
        "~~no~~",
        r"a\*b",
        "R&D &amp; &#62;",
        "<b>",
        "snake_case",
        "![x](y)",
        "a|b",
    ],
)
def test_the_name_of_a_label_shows_as_it_is_in_markdown(name: str) -> None:
    markdown = MarkdownIt().enable(["table", "strikethrough"]).use(dollarmath_plugin)
    page = markdown.render(table(["label", "F1"], [[name, "1"]]))
    assert f"<td>{escape(name, quote=False)}</td>" in page


def test_of_many_labels_a_screen_shows_the_most_frequent_and_the_worst() -> None:
    evaluation = an_evaluation([f"label {i}" for i in range(223)])
    lines = report(evaluation, width=100).splitlines()
    assert "The 20 most frequent of 223 labels, and the 10 others with the lowest F1; report.md has all." in lines
    assert sum(line.startswith("| label ") for line in lines) == 31
    assert sum(line.startswith("| label ") for line in report(evaluation).splitlines()) == 224
