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
from multilabel_pl.data.mnist import LABELS, read_digits
from multilabel_pl.model.calibration import fit_slopes
from tests.conftest import BRIEF, QUIET, small


def drawn(temperatures: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draws logits (N, L) that are too large by these factors (L,), and the targets that the right ones predict."""
    generator = torch.Generator().manual_seed(seed)
    honest = torch.randn(count, len(temperatures), generator=generator) * 2 - 1
    targets = (torch.rand(honest.shape, generator=generator) < honest.sigmoid()).float()
    return honest * temperatures, targets


def test_the_slope_of_each_label_is_found_again() -> None:
    truth = torch.tensor([0.25, 0.8, 1.0, 3.0, 10.0])
    slopes, fitted = fit_slopes(*drawn(truth, 50_000, seed=0))
    assert fitted.all()
    assert (slopes * truth).tolist() == pytest.approx([1] * 5, rel=0.05)


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10_000), count=st.integers(5, 60), scale=st.floats(0.05, 20))
def test_no_other_slope_has_a_lower_loss(seed: int, count: int, scale: float) -> None:
    logits, targets = drawn(torch.tensor([scale]), count, seed)
    slope, fitted = fit_slopes(logits, targets)
    if not fitted:
        assert slope == 1
        return
    others = torch.cat([slope, *(slope * (1 + step) for step in (-0.2, -0.01, 0.01, 0.2)), torch.ones(1)])
    losses = [F.binary_cross_entropy_with_logits(logits.double() * s.double(), targets.double()) for s in others]
    assert losses[0] <= torch.stack(losses).min() + 1e-7


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        ([-1.0, 2.0, 3.0], [0, 0, 0]),  # no positives
        ([-1.0, 2.0, 3.0], [1, 1, 1]),  # no negatives
        ([-1.0, 2.0, 3.0], [0, 1, 1]),  # separated perfectly: the steeper the better
        ([2.0, -2.0, -3.0], [0, 1, 1]),  # the wrong way round: the flatter the better
        ([0.0, 0.0, 0.0], [0, 1, 1]),  # not separated at all
    ],
    ids=["no positives", "no negatives", "separated", "wrong way round", "not separated"],
)
def test_where_no_slope_is_best_it_stays_at_1(logits: list[float], targets: list[int]) -> None:
    slope, fitted = fit_slopes(torch.tensor(logits)[:, None], torch.tensor(targets)[:, None])
    assert (slope.item(), fitted.item()) == (1, False)


def test_large_logits_do_no_harm() -> None:
    logits, targets = drawn(torch.tensor([1.0]), 1000, seed=1)
    slope, fitted = fit_slopes(logits * 50, targets)
    assert fitted
    assert slope.item() == pytest.approx(1 / 50, rel=0.2)


def test_a_calibrated_model_reports_its_error_before_and_after(workplace: Path, small_set: str) -> None:
    main(["fit", *QUIET, *BRIEF, *small(small_set), "--model.calibrate", "true"])
    main(["validate", *QUIET, "--figures", "false"])
    metrics = json.loads(Path("runs/version_0/validate/metrics.json").read_text(encoding="utf-8"))
    before, after = metrics["val_calibration_error_uncalibrated"], metrics["val_calibration_error"]
    assert after < before
    report = Path("runs/version_0/validate/report.md").read_text(encoding="utf-8")
    assert f"| calibration_error              | {after:.4f} |" in report
    assert f"| calibration_error_uncalibrated | {before:.4f} |" in report

    model = MultiLabelClassifier.load_from_checkpoint("runs/version_0/best.ckpt")
    assert (model.decision.slopes != 1).any()
    main(["predict", *QUIET, "--figure", "false"])
    with Path("runs/version_0/predict/predictions.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    with torch.inference_mode():
        scores = model.head(model.network(read_digits(Path(small_set), "test").images[:1]))
    expected = (scores * model.decision.slopes).sigmoid()[0].tolist()
    assert [float(row[label]) for label in LABELS] == pytest.approx(expected, abs=1e-5)


def test_calibration_needs_no_training(workplace: Path, small_run: Path) -> None:
    words = ["--figures", "false", *QUIET]
    original = MultiLabelClassifier.load_from_checkpoint(small_run / "best.ckpt")
    calibrated = ["--ckpt_path", "calibrated/model.ckpt"]
    checkpoint = ["--ckpt_path", str(small_run / "best.ckpt")]
    main(["tune", *words, *checkpoint, "--calibrate", "true", "--output", "calibrated/model.ckpt"])
    model = MultiLabelClassifier.load_from_checkpoint("calibrated/model.ckpt")
    assert model.decision.calibrate
    assert (model.decision.slopes != 1).any()
    assert original.decision.slopes.tolist() == [1] * 11
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), original.parameters(), strict=True))
    metrics = json.loads(Path("calibrated/tune/metrics.json").read_text(encoding="utf-8"))
    main(["validate", *words, *calibrated])
    again = json.loads(Path("calibrated/validate/metrics.json").read_text(encoding="utf-8"))
    assert again == pytest.approx(metrics, abs=1e-6)
    main(["tune", *words, *calibrated, "--calibrate", "false", "--output", "back/model.ckpt"])
    back = MultiLabelClassifier.load_from_checkpoint("back/model.ckpt")
    assert back.decision.slopes.tolist() == [1] * 11
    torch.testing.assert_close(back.decision.thresholds, original.decision.thresholds, atol=1e-5, rtol=0)


def test_training_does_not_see_the_calibration(workplace: Path, small_set: str) -> None:
    """Two epochs with a calibration between them lead to the same weights as without."""
    for calibrate in ("true", "false"):
        words = ["--trainer.max_epochs", "2", "--model.calibrate", calibrate]
        main(["fit", *QUIET, *BRIEF, *small(small_set), *words])
    first, second = (MultiLabelClassifier.load_from_checkpoint(f"runs/version_{i}/last.ckpt") for i in range(2))
    assert (first.decision.slopes != 1).any()
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))
