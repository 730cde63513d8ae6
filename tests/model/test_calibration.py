import csv
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multilabel_pl import MultiLabelClassifier
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, LABELS, read_digits
from multilabel_pl.model.calibration import fit_temperatures
from tests.conftest import BRIEF, QUIET, SHORT


def drawn(temperatures: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Logits that are too sure by these temperatures, and targets drawn by what they should have been."""
    generator = torch.Generator().manual_seed(seed)
    honest = torch.randn(count, len(temperatures), generator=generator) * 2 - 1
    targets = (torch.rand(honest.shape, generator=generator) < honest.sigmoid()).float()
    return honest * temperatures, targets


def test_the_temperature_of_each_label_is_found_again() -> None:
    truth = torch.tensor([0.25, 0.8, 1.0, 3.0, 10.0])
    found, fitted = fit_temperatures(*drawn(truth, 50_000, seed=0))
    assert fitted.all()
    assert (found / truth).tolist() == pytest.approx([1] * 5, rel=0.05)


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10_000), count=st.integers(5, 60), scale=st.floats(0.05, 20))
def test_no_other_temperature_has_a_lower_loss(seed: int, count: int, scale: float) -> None:
    logits, targets = drawn(torch.tensor([scale]), count, seed)
    found, fitted = fit_temperatures(logits, targets)
    if not fitted:
        assert found == 1
        return
    others = torch.cat([found, *(found * (1 + step) for step in (-0.2, -0.01, 0.01, 0.2)), torch.ones(1)])
    losses = [F.binary_cross_entropy_with_logits(logits.double() / t.double(), targets.double()) for t in others]
    assert losses[0] <= torch.stack(losses).min() + 1e-7


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        ([-1.0, 2.0, 3.0], [0, 0, 0]),  # no positives
        ([-1.0, 2.0, 3.0], [1, 1, 1]),  # no negatives
        ([-1.0, 2.0, 3.0], [0, 1, 1]),  # told apart: the surer the better
        ([2.0, -2.0, -3.0], [0, 1, 1]),  # the wrong way round: the less sure the better
        ([0.0, 0.0, 0.0], [0, 1, 1]),  # nothing told
    ],
    ids=["no positives", "no negatives", "told apart", "wrong way round", "nothing told"],
)
def test_where_no_temperature_is_best_it_stays_at_1(logits: list[float], targets: list[int]) -> None:
    found, fitted = fit_temperatures(torch.tensor(logits)[:, None], torch.tensor(targets)[:, None])
    assert (found.item(), fitted.item()) == (1, False)


def test_large_logits_do_no_harm() -> None:
    logits, targets = drawn(torch.tensor([1.0]), 1000, seed=1)
    found, fitted = fit_temperatures(logits * 50, targets)
    assert fitted
    assert found.item() == pytest.approx(50, rel=0.2)


def test_a_calibrated_model_reports_its_error_before_and_after(workplace: Path) -> None:
    main(["fit", *SHORT, "--model.calibrate", "true"])
    main(["validate", *QUIET])
    metrics = json.loads(Path("runs/version_0/validate/metrics.json").read_text())
    before, after = metrics["val_calibration_error_uncalibrated"], metrics["val_calibration_error"]
    assert after < before
    report = Path("runs/version_0/validate/report.md").read_text()
    assert f"| calibration_error              | {after:.4f} |" in report
    assert f"| calibration_error_uncalibrated | {before:.4f} |" in report

    model = MultiLabelClassifier.load_from_checkpoint("runs/version_0/best.ckpt")
    assert model.temperatures.min() > 0.1
    assert (model.temperatures != 1).any()
    main(["predict", *QUIET, "--figure", "false"])
    with Path("runs/version_0/predict/predictions.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    with torch.no_grad():
        scores = model.head(model.network(read_digits(ARCHIVES, "test").images[:1]))
    expected = (scores / model.temperatures).sigmoid()[0].tolist()
    assert [float(row[label]) for label in LABELS] == pytest.approx(expected, abs=1e-5)


def test_calibration_needs_no_training(workplace: Path, run_folder: Path) -> None:
    checkpoint = ["--ckpt_path", str(run_folder / "best.ckpt")]
    main(["validate", *QUIET, *checkpoint, "--model.calibrate", "true", "--output", "calibrated/model.ckpt"])
    model = MultiLabelClassifier.load_from_checkpoint("calibrated/model.ckpt")
    original = MultiLabelClassifier.load_from_checkpoint(run_folder / "best.ckpt")
    assert model.calibrate
    assert (model.temperatures != 1).any()
    assert original.temperatures.tolist() == [1] * 11
    metrics = json.loads(Path("calibrated/validate/metrics.json").read_text())
    main(["validate", *QUIET, "--ckpt_path", "calibrated/model.ckpt"])
    assert json.loads(Path("calibrated/validate/metrics.json").read_text()) == metrics
    words = ["--model.calibrate", "false", "--output", "back/model.ckpt"]
    main(["validate", *QUIET, "--ckpt_path", "calibrated/model.ckpt", *words])
    back = MultiLabelClassifier.load_from_checkpoint("back/model.ckpt")
    assert back.temperatures.tolist() == [1] * 11
    assert torch.allclose(back.thresholds, original.thresholds, atol=1e-5)


def test_training_does_not_see_the_temperatures(workplace: Path) -> None:
    """Two epochs with a calibration between them lead to the same weights as without."""
    for calibrate in ("true", "false"):
        main(["fit", *QUIET, *BRIEF, "--trainer.max_epochs", "2", "--model.calibrate", calibrate])
    first, second = (MultiLabelClassifier.load_from_checkpoint(f"runs/version_{i}/last.ckpt") for i in range(2))
    assert (first.temperatures != 1).any()
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))
