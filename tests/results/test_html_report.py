"""The report as a page: what it holds, and how it behaves in a browser."""

import json
import re
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from playwright.sync_api import expect
from torch import Tensor

from multilabel_pl.cli.main import main
from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.gallery import MAX_MISTAKES, exhibit_mistakes
from multilabel_pl.results.html_report import write_html_report
from multilabel_pl.results.origin import Origin
from multilabel_pl.results.threshold_curves import BUDGET, threshold_curves
from multilabel_pl.task import Task
from tests.browser import opened
from tests.conftest import QUIET, copied_run

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    '" onload="alert(3)',
    "{{ 7 * 7 }}",
    "$5_$10",
    "🐈 cat",
    "a label of many words, so that it has to be broken somewhere or cut off at last",
]
DIGITS = read_digits(ARCHIVES, "test").images[:300]


def evaluation(labels: list[str], count: int = 300, unknown: bool = False) -> Evaluation:
    """Returns an evaluation of a model that is often wrong."""
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(count, len(labels), generator=generator) < 0.3).float()
    logits = torch.randn(count, len(labels), generator=generator) + 2 * targets - 1
    if unknown:
        targets[torch.rand(targets.shape, generator=generator) < 0.2] = torch.nan
    return Evaluation(Decision(labels, 0.4, False), logits, targets, torch.tensor(0.5))


def write_report(tested: Evaluation, folder: Path, images: LabelledImages | None = None, **options: Any) -> Path:
    """Writes a report as `test` does, into the folder of a run."""
    checkpoint = folder / "best.ckpt"
    checkpoint.write_bytes(b"a checkpoint")
    (folder / "metrics.csv").write_text("epoch,step,train_loss,val_loss\n0,9,0.7,\n0,19,,0.6\n1,29,0.4,\n1,39,,0.3\n")
    origin = Origin(Task(tested.labels, (1, 28, 28)), {"head": "sigmoid"}, checkpoint, "a<b>.csv", epoch=2)
    (folder / "test").mkdir()
    path = folder / "test" / "report.html"
    write_html_report(tested, images, origin, path, origin.title("test"), **options)
    return path


def labelled(tested: Evaluation) -> LabelledImages:
    paths = [Path(f"/scans/<b>{index}</b>.png") for index in range(len(tested.targets))]
    return LabelledImages(DIGITS[: len(tested.targets)], tested.targets, paths)


@pytest.mark.parametrize("unknown", [False, True])
def test_curves_count_what_reaches_a_threshold(unknown: bool) -> None:
    tested = evaluation(["a", "b", "on no image"], unknown=unknown)
    tested.targets[:, 2] = 0
    for label, curve in enumerate(threshold_curves(tested)):
        assert curve["thresholds"] == sorted(set(curve["thresholds"]))
        assert curve["thresholds"][curve["own"]] == pytest.approx(0.4)
        truth, known = tested.truth[:, label], tested.known[:, label]
        assert (curve["positives"], curve["negatives"]) == (truth.sum(), (known & ~truth).sum())
        own = tested.tags[:, label]
        assert curve["hits"][curve["own"]] == (own & truth).sum()
        assert curve["mistaken"][curve["own"]] == (own & known & ~truth).sum()
        assert curve["hits"][0] == curve["positives"]


def test_many_labels_share_the_points_of_the_curves() -> None:
    curves = threshold_curves(evaluation([f"label {i}" for i in range(5_000)], count=50))
    assert sum(len(curve["thresholds"]) for curve in curves) < 3 * BUDGET


def test_one_half_is_a_point_of_every_curve() -> None:
    curves = threshold_curves(evaluation([f"label {i}" for i in range(101)], count=50))
    assert all(0.5 in curve["thresholds"] for curve in curves)


def test_every_label_has_its_worst_mistakes_shown() -> None:
    tested = evaluation(["often wrong", "rarely wrong"])
    logits = tested.uncalibrated.clone()
    logits[:, 0] = -9 * (2 * tested.targets[:, 0] - 1)  # all wrong, and by far
    logits[:, 1] = 2 * tested.targets[:, 1] - 1
    logits[7, 1] *= -1
    tested = Evaluation(tested.decision, logits, tested.targets, tested.loss)
    shown = list(exhibit_mistakes(tested, LabelledImages(DIGITS, tested.targets)))
    assert len(shown) == MAX_MISTAKES
    assert "7" in [image.name for image in shown if "1" in f"{image.missed} {image.wrong}".split()]


def embedded(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert match is not None
    content: dict[str, Any] = json.loads(match[1])
    return content


def test_hostile_labels_stay_text(tmp_path: Path) -> None:
    tested = evaluation(HOSTILE, unknown=True)
    path = write_report(tested, tmp_path, labelled(tested))
    text = path.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "<b>1</b>" not in text
    assert [label["name"] for label in embedded(path)["labels"]] == HOSTILE
    with opened(f"file://{path}") as page:
        expect(page.locator("#labels tbody th").first).to_have_text(HOSTILE[0])
        assert page.locator("#label option").all_text_contents() == HOSTILE


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), pytest.param(390, "dark", marks=pytest.mark.slow)])
def test_thresholds_are_moved_by_the_keyboard(width: int, scheme: Literal["light", "dark"], tmp_path: Path) -> None:
    tested = evaluation(HOSTILE)
    path = write_report(tested, tmp_path, labelled(tested))
    with opened(f"file://{path}", width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator(".uplot canvas").count() == 4  # two of the threshold, calibration, training
        page.select_option("#label", "1")
        tags, truth = tested.tags[:, 1], tested.truth[:, 1]

        def effect() -> list[list[str]]:
            return [row.locator("td").all_text_contents() for row in page.locator("#effect tbody tr").all()]

        def counts(tags: Tensor) -> list[str]:
            return [str(int(part.sum())) for part in (tags & truth, ~tags & truth, tags & ~truth, ~tags & ~truth)]

        assert [row[1] for row in effect()[4:]] == counts(tags)
        page.focus("#threshold")
        page.keyboard.press("ArrowRight")
        curve = threshold_curves(tested)[1]
        moved = curve["thresholds"][curve["own"] + 1]
        assert page.locator("#chosen").input_value() == str(moved)
        assert [row[1] for row in effect()[4:]] == counts(tested.probabilities[:, 1] >= moved - 1e-6)
        assert [row[0] for row in effect()[4:]] == counts(tags)
        page.keyboard.press("Tab")
        page.keyboard.type("0.9")
        page.keyboard.press("Tab")
        assert float(page.locator("#chosen").input_value()) == pytest.approx(0.9, abs=0.005)
        page.keyboard.press("Enter")
        assert page.locator("#chosen").input_value() == "0.4"


@pytest.mark.slow
def test_mistakes_are_filtered_and_labels_sorted(tmp_path: Path) -> None:
    tested = evaluation(["a", "b", "c"], count=60)
    path = write_report(tested, tmp_path, labelled(tested), explain=lambda images, _: images.expand(-1, 3, -1, -1))
    with opened(f"file://{path}") as page:
        images = page.locator("#mistakes figure:visible")
        expect(images).to_have_count(int(tested.wrong.sum()))
        page.select_option("#mistaken", "2")
        page.select_option("#kind", "missed")
        expect(images).to_have_count(int(tested.missed[:, 2].sum()))
        expect(page.locator("#shown")).to_have_text(
            f"{int(tested.missed[:, 2].sum())} of {int(tested.wrong.sum())} shown"
        )
        expect(page.locator("#mistakes img.heat:visible")).to_have_count(0)
        page.check("#explained")
        expect(page.locator("#mistakes img.heat:visible")).to_have_count(int(tested.missed[:, 2].sum()))
        names = page.locator("#labels tbody th")
        page.locator("#labels th button", has_text=re.compile("^recall$")).click()
        recall = [float(cell) for cell in page.locator("#labels tbody td:nth-child(5)").all_text_contents()]
        assert recall == sorted(recall, reverse=True)
        page.locator("#labels th button").first.click()
        page.locator("#labels th button").first.click()
        assert names.all_text_contents() == ["c", "b", "a"]


def test_nothing_wrong_and_one_image_are_reported(tmp_path: Path) -> None:
    right = Evaluation(Decision(["a"], 0.5, False), torch.tensor([[3.0]]), torch.ones(1, 1), torch.tensor(0.0))
    path = write_report(right, tmp_path)
    with opened(f"file://{path}") as page:
        expect(page.locator("#mistakes")).to_contain_text("0 of 1 images have a wrong tag, or miss one.")
        assert page.locator("#cooccurrence").count() == 0


def test_a_report_of_ten_thousand_images_is_small(tmp_path: Path) -> None:
    labels = [f"label {i}" for i in range(80)]
    tested = evaluation(labels, count=10_000)
    photos = torch.randint(0, 256, (10_000, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    class Photos(LabelledImages):
        def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
            images, targets = super().__getitems__(indices)
            return images.repeat_interleave(28, dim=2).repeat_interleave(28, dim=3), targets

    path = write_report(tested, tmp_path, Photos(photos, tested.targets), explain=lambda images, _: images)
    assert path.stat().st_size < 8_000_000


@pytest.mark.slow
def test_the_command_writes_it_with_heat_maps(small_run: Path, small_set: str, workplace: Path) -> None:
    pytest.importorskip("captum")
    folder = copied_run(small_run, workplace)
    main(["test", "--data.data_dir", small_set, "--explain", "true", *QUIET])
    page = folder / "test" / "report.html"
    text = page.read_text(encoding="utf-8")
    assert text.count("<h2>") == 8
    assert len(embedded(page)["labels"]) == 11
    shown = text.count("<figure data-missed")
    assert 0 < shown == text.count('alt="what speaks for ')
