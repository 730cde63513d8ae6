"""The tutorial's notebook runs, and shows what it does."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
FULL, BRIEF = '"max_epochs": 2', '"max_epochs": 2, "limit_train_batches": 60'


@pytest.mark.slow
def test_the_notebook_runs(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On fewer batches; what a notebook would show of a cell's last line can be shown."""
    shown = []
    namespace: dict[str, Any] = {}
    for source in sources():
        *lines, last = ast.parse(source.replace(FULL, BRIEF)).body
        exec(compile(ast.Module(lines, []), "cell", "exec"), namespace)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), namespace))
        else:
            exec(compile(ast.Module([last], []), "cell", "exec"), namespace)
    assert sum(hasattr(value, "_repr_html_") for value in shown) >= 5
    assert len(namespace["trainer"].history) == 2
    assert "1,609,035 parameters" in capsys.readouterr().out
    assert namespace["model"].predict_images(namespace["nine"]) == namespace["sigmoid"].predict_images(
        namespace["nine"]
    )


def test_its_outputs_are_kept() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in cells[1:])
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell["outputs"])
    assert FULL in "".join(sources())


def sources() -> list[str]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
