from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from multilabel_pl.checkpoint import read_checkpoint
from multilabel_pl.cli.main import main
from multilabel_pl.data.datasets import identity_collate
from multilabel_pl.data.memory_loader import MemoryLoader
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.data.sampler import EpochOrder
from tests.conftest import QUIET

DIGITS = read_digits(ARCHIVES, "test").subset(range(100))
ON_A_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("done", [0, 32, 100])
def test_batches_are_those_of_a_loader_that_fetches_by_lists(drop_last: bool, done: int) -> None:
    order = EpochOrder(len(DIGITS), seed=3, done=lambda: done)
    loaders = [
        loader(DIGITS, batch_size=16, sampler=order, drop_last=drop_last, collate_fn=identity_collate)
        for loader in (MemoryLoader, DataLoader)
    ]
    batches, expected = (list(loader) for loader in loaders)
    assert len(batches) == len(expected) == (100 - done) // 16 + (done < 100 and not drop_last)
    for batch, other in zip(batches, expected, strict=True):
        assert all(map(torch.equal, batch, other))


def test_images_are_counted_from_the_end_too() -> None:
    assert all(map(torch.equal, DIGITS[-1], DIGITS[len(DIGITS) - 1]))
    images, targets = DIGITS.__getitems__([])
    assert (len(images), len(targets)) == (0, 0)


def test_targets_may_be_replaced() -> None:
    digits = DIGITS.subset(range(10))
    loader = MemoryLoader(digits, batch_size=10)
    digits.targets = 1 - digits.targets
    [(_, targets)] = loader
    assert torch.equal(targets, digits.targets)


def trained(options: list[str], folder: str) -> dict[str, torch.Tensor]:
    brief = [*QUIET, "--trainer.max_epochs", "2", "--trainer.limit_train_batches", "5", "--data.max_shift", "2"]
    main(["fit", *brief, "--seed_everything", "3", "--trainer.default_root_dir", folder, *options])
    return dict(read_checkpoint(Path(folder, "version_0", "last.ckpt"))["state_dict"])


@pytest.mark.parametrize("accelerator", ["cpu", pytest.param("gpu", marks=ON_A_GPU)])
def test_a_run_on_the_device_is_the_same_run(accelerator: str, workplace: Path) -> None:
    device = ["--trainer.accelerator", accelerator, "--trainer.deterministic", "true"]
    moved, fetched = (trained([*device, "--data.on_device", choice], choice) for choice in ("true", "false"))
    assert all(torch.equal(moved[name], value) for name, value in fetched.items())


def test_images_that_are_not_in_memory_are_noted(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    brief = [*QUIET, "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"]
    scenes = ["--data", "SceneDataModule", "--data.train_size", "200", "--data.val_size", "100"]
    main(["fit", *brief, *scenes, "--data.on_device", "true"])
    [line] = [line for line in capsys.readouterr().err.splitlines() if "on_device" in line]
    assert line == "note: on_device has no effect: these images are made as they are needed, not kept in memory"
