import csv
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multilabel_pl import MultiLabelClassifier
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import LABELS, read_digits
from multilabel_pl.model.calibration import Line, fit_calibration
from tests.conftest import BRIEF, QUIET, small
from tests.model.scattered import scattered


def drawn(slopes: Tensor, offsets: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draws logits (N, L) that are right after this calibration, (L,) each, and the targets that they then predict."""
    generator = torch.Generator().manual_seed(seed)
    honest = torch.randn(count, len(slopes), generator=generator) * 2 - 1
    targets = (torch.rand(honest.shape, generator=generator) < honest.sigmoid()).float()
    return (honest - offsets) / slopes, targets


def test_the_slope_and_the_offset_of_each_label_are_found_again() -> None:
    slopes, offsets = torch.tensor([4.0, 1.25, 1.0, 0.3, 0.1]), torch.tensor([0.0, -3.0, 1.0, 0.5, 0.0])
    line = fit_calibration(*drawn(slopes, offsets, 50_000, seed=0))
    assert (line.slopes / slopes).tolist() == pytest.approx([1] * 5, rel=0.05)
    assert line.offsets.tolist() == pytest.approx(offsets.tolist(), abs=0.1)


def test_with_few_images_labels_share_what_they_have_in_common() -> None:
    slopes, offsets = torch.full((30,), 0.5), torch.full((30,), 2.0)
    line = fit_calibration(*drawn(slopes, offsets, 100, seed=0))
    assert (line.slopes / slopes).tolist() == pytest.approx([1] * 30, rel=0.3)
    assert line.offsets.tolist() == pytest.approx([2] * 30, abs=0.5)


def test_each_label_is_calibrated_by_what_is_known_of_it() -> None:
    logits, targets = drawn(torch.tensor([2.0, 1.0, 0.5]), torch.tensor([0.0, -1.0, 1.0]), 80, seed=0)
    expected = fit_calibration(logits, targets)
    torch.testing.assert_close(fit_calibration(*scattered(logits, targets, 300)), expected, rtol=1e-3, atol=1e-3)
    nothing = torch.full((80, 1), torch.nan)
    line = fit_calibration(torch.cat([logits, logits[:, :1]], dim=1), torch.cat([targets, nothing], dim=1))
    torch.testing.assert_close(Line(line.slopes[:3], line.offsets[:3]), expected, rtol=1e-3, atol=1e-3)
    assert torch.cat(line).isfinite().all()


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    labels=st.integers(1, 5),
    scale=st.floats(0.01, 1000),
    values=st.sampled_from([2, 3]),
)
def test_any_logits_and_targets_have_a_calibration(
    seed: int, count: int, labels: int, scale: float, values: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.tensor([0.0, 1.0, torch.nan])[torch.randint(values, (count, labels), generator=generator)]
    line = fit_calibration(torch.randn(count, labels, generator=generator) * scale, targets)
    assert line.slopes.isfinite().all()
    assert line.offsets.isfinite().all()
    assert (line.slopes > 0).all()


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        ([-1.0, 2.0, 3.0], [0, 0, 0]),
        ([-1.0, 2.0, 3.0], [1, 1, 1]),
        ([-1.0, 2.0, 3.0], [0, 1, 1]),
        ([2.0, -2.0, -3.0], [0, 1, 1]),
        ([0.0, 0.0, 0.0], [0, 1, 1]),
    ],
    ids=["no positives", "no negatives", "separated", "wrong way round", "not separated"],
)
def test_little_evidence_changes_little(logits: list[float], targets: list[int]) -> None:
    line = fit_calibration(torch.tensor(logits)[:, None], torch.tensor(targets)[:, None])
    assert 0.3 < line.slopes.item() < 2
    assert abs(line.offsets.item()) < 1


def test_large_logits_do_no_harm() -> None:
    logits, targets = drawn(torch.tensor([1.0]), torch.tensor([0.0]), 1000, seed=1)
    line = fit_calibration(logits * 50, targets)
    assert line.slopes.item() == pytest.approx(1 / 50, rel=0.2)


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
    expected = model.decision(scores).sigmoid()[0].tolist()
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
