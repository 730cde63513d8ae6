import time
from pathlib import Path
from typing import Any

import pytest
import torch

from multilabel_pl import SceneDataModule
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.data.scenes import Scenes
from multilabel_pl.errors import InputError
from tests.conftest import BRIEF, QUIET

FEW: dict[str, Any] = {"train_size": 500, "val_size": 300, "test_size": 400}


def made(**options: Any) -> Scenes:
    data = SceneDataModule(**{**FEW, **options})
    data.setup("test")
    assert isinstance(data.test_set, Scenes)
    return data.test_set


def test_scenes_hold_their_digits_whole_and_apart() -> None:
    scenes = made()
    images, targets = scenes.__getitems__(list(range(len(scenes))))
    assert images.shape == (400, 1, 64, 64)
    assert images.dtype == torch.uint8
    for image, count, chosen in zip(images, scenes.counts.tolist(), scenes.chosen, strict=True):
        digits = scenes.digits.images[chosen[:count], 0]
        ink = sorted(digits[digits > 0].tolist())
        assert sorted(image[image > 0].tolist()) == ink  # each pixel of ink is there, once
    assert targets.shape == (400, 11)


def test_tags_are_those_of_the_digits() -> None:
    scenes = made()
    _, targets = scenes.__getitems__(list(range(400)))
    for target, count, chosen in zip(targets, scenes.counts.tolist(), scenes.chosen, strict=True):
        tags = scenes.digits.targets[chosen[:count]].sum(dim=0) > 0
        assert torch.equal(target.bool(), tags)
    per_scene = targets.sum(dim=1)
    assert (per_scene.min().item(), per_scene.max().item()) == (0, 5)
    assert [80 * 0.6 < (scenes.counts == count).sum() < 80 * 1.4 for count in range(5)] == [True] * 5
    image, target = scenes[7]
    assert torch.equal(target, targets[7])
    assert image.shape == (1, 64, 64)


def test_training_validation_and_test_share_no_digit() -> None:
    data = SceneDataModule(**FEW)
    data.setup("fit")
    data.setup("test")
    sets = [data.train_set, data.val_set, data.test_set]
    digits = [{bytes(image.numpy()) for image in scenes.digits.images} for scenes in sets if isinstance(scenes, Scenes)]
    assert [len(part) for part in digits] == [55_000, 5000, 10_000]
    assert not digits[0] & digits[1]
    assert not digits[0] & digits[2]
    assert digits[2] == {bytes(image.numpy()) for image in read_digits(ARCHIVES, "test").images}


def test_the_seed_decides_the_scenes() -> None:
    def pixels(**options: Any) -> torch.Tensor:
        torch.rand(3)  # what else is drawn doesn't matter
        return made(**options).__getitems__(list(range(50)))[0]

    first = pixels()
    assert torch.equal(pixels(), first)
    assert not torch.equal(pixels(scene_seed=1), first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_digits": 0}, "max_digits must be at least 1, got 0"),
        ({"canvas_size": 27}, "canvas_size must be at least 28, got 27"),
        ({"train_size": 0}, "train_size must be at least 1, got 0"),
        ({"val_size": -1}, "val_size must be at least 0, got -1"),
        ({"max_digits": 9, "canvas_size": 40}, "9 digits don't fit: lower --data.max_digits"),
    ],
    ids=str,
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(**options)


def test_many_digits_are_possible() -> None:
    scenes = made(max_digits=10, canvas_size=128)
    images, targets = scenes.__getitems__(list(range(400)))
    assert images.shape == (400, 1, 128, 128)
    assert targets.sum(dim=1).max() >= 8


@pytest.mark.slow
def test_models_are_trained_and_tested_on_scenes(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"train_size": 100, "val_size": 50, "test_size": 40, "canvas_size": 48, "max_digits": 2}
    sizes = [word for name, size in small.items() for word in (f"--data.{name}", str(size))]
    main(["fit", *QUIET, *BRIEF, "--data", "SceneDataModule", *sizes])
    main(["validate", *QUIET, "--data.val_size", "30", "--figures", "false"])
    assert "were used to train" not in capsys.readouterr().err  # their digits are never those of training scenes
    main(["test", *QUIET, "--figures", "false"])
    assert Path("runs/version_0/test/report.md").is_file()
    main(["predict", *QUIET])
    assert Path("runs/version_0/predict/predictions.png").is_file()
    assert len(Path("runs/version_0/predict/predictions.csv").read_text(encoding="utf-8").splitlines()) == 41


def test_sixty_thousand_scenes_take_seconds() -> None:
    start = time.perf_counter()
    scenes = made(test_size=60_000)
    for first in range(0, 60_000, 250):
        scenes.__getitems__(list(range(first, first + 250)))
    assert time.perf_counter() - start < 30  # about 4 on two free cores
