"""What a fit and an evaluation leave for Python and notebooks."""

from pathlib import Path

import pytest

from multilabel_pl import MNISTDataModule, MultiLabelClassifier, Trainer
from multilabel_pl.model.prediction import Prediction
from multilabel_pl.model.prediction_plot import PredictionFigure
from tests.training.test_trainer import SILENT

F1 = ["val_f1_macro", "val_f1_micro"]


def test_a_fit_leaves_its_history_and_a_test_its_leading_metrics(
    small_set: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = MNISTDataModule(small_set, val_size=100)
    model = MultiLabelClassifier()
    trainer = Trainer(**{**SILENT, "max_epochs": 2, "check_val_every_n_epoch": 2, "limit_train_batches": 2})
    trainer.fit(model, datamodule=data)
    first, second = trainer.history
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert "val_loss" not in first
    assert 0 < second["val_loss"] < 1
    header, _, *rows = str(trainer.history).splitlines()
    assert header.split()[1::2] == ["epoch", "train_loss", "val_loss", "val_map", "val_exact_match", *F1]
    assert (len(rows), rows[0].count("–"), rows[1].count("–")) == (2, 5, 0)
    table = trainer.history._repr_html_()
    assert table.count("<tr>") == 3
    assert f"{second['val_map']:.4f}" in table
    results = trainer.test(model, datamodule=data)
    [metrics] = results
    assert len(metrics) > 20
    names = [part.split()[0] for part in repr(results).split(", ")]
    assert names == ["test_loss", "test_exact_match", "test_f1_macro", "test_f1_micro", "test_map"]
    assert results._repr_html_().count("<tr>") == 6
    assert "thresholds by" not in capsys.readouterr().out  # the report, which verbose prints
    trainer.test(model, datamodule=data, verbose=True)
    assert "thresholds by" in capsys.readouterr().out


def test_a_prediction_is_a_table_and_a_figure() -> None:
    names = [f"<label> {i} $5_$" for i in range(30)]
    prediction = Prediction([names[7]], {name: 0.99 if i == 7 else i / 100 for i, name in enumerate(names)})
    table = prediction._repr_html_()
    assert table.count("<tr>") == 13
    assert "&lt;label&gt; 7 $5_$" in table
    assert table.count("✓") == 1
    figure = prediction.plot()
    assert isinstance(figure, PredictionFigure)
    [axes] = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == [names[7], names[29]]
    assert figure._repr_png_().startswith(b"\x89PNG")  # and no formula is read into the names
