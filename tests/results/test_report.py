import json
from pathlib import Path

import torch

from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.report import report, write_metrics, write_report

TARGETS = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
LOGITS = torch.tensor([[2.0, -2, -1], [3, -3, -1], [-1, 1, -1], [1, -2, -1]])
EVALUATION = Evaluation(Decision(["cat", "a|b", "owl"], [0.8, 0.5, 0.5], False), LOGITS, TARGETS, torch.tensor(0.5))


def test_a_report_shows_the_thresholds_beside_one_half() -> None:
    lines = report(EVALUATION).splitlines()
    [exact] = [line for line in lines if line.startswith("| exact_match ")]
    assert exact.split() == ["|", "exact_match", "|", "0.7500", "|", "0.5000", "|"]
    assert "Predicting no tag at all has a label_accuracy of 0.6667." in lines
    assert not any(line.startswith("| label_accuracy_of_no_tags") for line in lines)


def test_each_label_has_a_row_and_a_dash_where_nothing_is_defined() -> None:
    _, _, cat, other, owl = report(EVALUATION).rpartition("\n\n")[2].splitlines()
    assert [cell.strip() for cell in cat.split(" | ")][:6] == ["| cat", "2", "0.8000", "1.0000", "1.0000", "1.0000"]
    assert other.startswith("| a\\|b  | ")  # as Markdown has it within a table
    assert [cell.strip(" |") for cell in owl.split(" | ")] == ["owl", "0", "0.5000", *["–"] * 8]
    assert len({len(line) for line in (cat, other, owl)}) == 1


def test_metrics_that_are_not_finite_are_null(tmp_path: Path) -> None:
    write_metrics({"val_loss": 0.25, "val_auroc": float("nan"), "val_map": float("inf")}, tmp_path / "new" / "m.json")
    assert json.loads((tmp_path / "new" / "m.json").read_text(encoding="utf-8")) == {
        "val_loss": 0.25,
        "val_auroc": None,
        "val_map": None,
    }


def test_a_page_links_its_figures(tmp_path: Path) -> None:
    write_report("# test", ["precision_recall.png"], tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text == "# test\n\n![precision recall](precision_recall.png)\n"
