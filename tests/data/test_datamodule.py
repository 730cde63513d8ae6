from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.data.mnist import MNISTDataModule
from tests.data.test_mnist import write_set


def test_a_batch_is_what_its_items_are() -> None:
    data = LabelledImages(torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8), torch.rand(20, 3))
    assert len(data) == 20
    images, targets = data.__getitems__([5, 0, 19])
    for place, index in enumerate([5, 0, 19]):
        image, target = data[index]
        assert torch.equal(images[place], image)
        assert torch.equal(targets[place], target)


def test_evaluation_sees_every_image_once_in_order() -> None:
    data = MNISTDataModule(eval_batch_size=999)  # 10,000 is no multiple of it
    data.setup("test")
    assert data.test_set is not None
    images = torch.cat([images for images, _ in data.test_dataloader()])
    assert torch.equal(images, data.test_set.images)


def test_an_epoch_of_training_sees_every_image_once_in_another_order() -> None:
    data = MNISTDataModule(batch_size=1000)
    data.setup("fit")
    assert data.train_set is not None
    images = torch.cat([images for images, _ in data.train_dataloader()])
    assert images.shape == data.train_set.images.shape
    assert not torch.equal(images, data.train_set.images)
    sums, expected = (x.flatten(1).sum(1, dtype=torch.long) for x in (images, data.train_set.images))
    assert torch.equal(sums.sort().values, expected.sort().values)


@pytest.mark.parametrize(("val_size", "batches", "last"), [(71, 2, 64), (70, 3, 2), (199, 1, 1)])
def test_no_image_is_alone_in_a_batch_of_training(val_size: int, batches: int, last: int, tmp_path: Path) -> None:
    write_set(tmp_path, digits=[1, 2] * 100)
    data = MNISTDataModule(data_dir=str(tmp_path), val_size=val_size)
    data.setup("fit")
    sizes = [len(images) for images, _ in data.train_dataloader()]
    assert (len(sizes), sizes[-1]) == (batches, last)
    validated = data.val_dataloader()
    assert isinstance(validated, DataLoader)
    assert sum(len(images) for images, _ in validated) == val_size
