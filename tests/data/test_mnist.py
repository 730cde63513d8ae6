import gzip
import hashlib
from pathlib import Path

import pytest
import torch

from multilabel_pl.data.mnist import ARCHIVES, FILES, MNISTDataModule, digit_targets, read_digits
from multilabel_pl.errors import InputError


@pytest.fixture(scope="module")
def fitted() -> MNISTDataModule:
    data = MNISTDataModule()
    data.setup("fit")
    return data


def idx(shape: tuple[int, ...], values: bytes) -> bytes:
    """The content of a file in IDX format."""
    return bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape) + values


def write_idx(path: Path, shape: tuple[int, ...], values: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(idx(shape, values))


def write_set(folder: Path, digits: list[int], size: int = 28) -> None:
    for images, labels in FILES.values():
        write_idx(folder / images, (len(digits), size, size), bytes(len(digits) * size * size))
        write_idx(folder / labels, (len(digits),), bytes(digits))


def test_shipped_archives_hold_the_original_files() -> None:
    sums = [line.split() for line in (ARCHIVES / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in sums} == {name for names in FILES.values() for name in names}
    for expected, name in sums:
        with gzip.open(ARCHIVES / f"{name}.gz") as archive:
            assert hashlib.file_digest(archive, "sha256").hexdigest() == expected


def test_all_images_are_there_with_their_labels(fitted: MNISTDataModule) -> None:
    assert fitted.labels == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "≥5"]
    everything, test = read_digits(ARCHIVES, "train"), read_digits(ARCHIVES, "test")
    for data, size in ((everything, 60_000), (test, 10_000)):
        assert data.images.shape == (size, 1, 28, 28)
        assert data.images.dtype == torch.uint8
        assert data.targets.shape == (size, 11)
        assert data.targets.dtype == torch.float32
    assert everything.targets.sum(0).int().tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),  # the counts known of MNIST
        5421 + 5918 + 6265 + 5851 + 5949,
    ]


def test_targets_name_the_digit_and_whether_it_is_large() -> None:
    targets = digit_targets(torch.arange(10))
    for digit, row in enumerate(targets.tolist()):
        assert [i for i, value in enumerate(row) if value] == ([digit] if digit < 5 else [digit, 10])


def test_validation_images_are_set_aside(fitted: MNISTDataModule) -> None:
    assert fitted.train_set is not None
    assert fitted.val_set is not None
    assert fitted.test_set is None  # official test images never enter training
    assert (len(fitted.train_set), len(fitted.val_set)) == (55_000, 5_000)
    both = torch.cat([fitted.train_set.images, fitted.val_set.images]).flatten(1).sum(1, dtype=torch.long)
    everything = read_digits(ARCHIVES, "train").images.flatten(1).sum(1, dtype=torch.long)
    assert torch.equal(both.sort().values, everything.sort().values)


def test_split_has_a_seed_of_its_own(fitted: MNISTDataModule) -> None:
    torch.manual_seed(1)
    same, other = MNISTDataModule(), MNISTDataModule(split_seed=1)
    same.setup("fit")
    other.setup("fit")
    assert fitted.val_set is not None
    assert same.val_set is not None
    assert other.val_set is not None
    assert torch.equal(fitted.val_set.images, same.val_set.images)
    assert not torch.equal(fitted.val_set.images, other.val_set.images)


def test_no_validation_on_request() -> None:
    data = MNISTDataModule(val_size=0)
    data.setup("fit")
    assert data.train_set is not None
    assert len(data.train_set) == 60_000
    assert data.val_dataloader() == []
    with pytest.raises(InputError, match="val_size is 0"):
        data.setup("validate")


@pytest.mark.parametrize(
    "options",
    [{"val_size": -1}, {"split_seed": -1}, {"batch_size": 0}, {"eval_batch_size": 0}, {"max_shift": -1}],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    [(name, value)] = options.items()
    with pytest.raises(InputError, match=f"{name} must be at least .*, got {value}"):
        MNISTDataModule(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [60_000, 70_000])
def test_validation_must_leave_images_to_train_on(size: int) -> None:
    with pytest.raises(InputError, match=rf"val_size must be in \[0, 60000\), got {size}"):
        MNISTDataModule(val_size=size).setup("fit")


@pytest.mark.parametrize("place", ["", "raw", "FashionMNIST/raw"])
def test_other_sets_are_found_where_torchvision_lays_them(tmp_path: Path, place: str) -> None:
    write_set(tmp_path / place, digits=[3, 7, 7], size=20)
    data = MNISTDataModule(data_dir=str(tmp_path), val_size=1)
    data.setup("fit")
    data.setup("test")
    assert data.image_shape == (1, 20, 20)
    assert data.test_set is not None
    assert torch.equal(data.test_set.targets, digit_targets(torch.tensor([3, 7, 7])))


def test_of_several_sets_one_must_be_named(tmp_path: Path) -> None:
    for name in ("FashionMNIST", "KMNIST"):
        write_set(tmp_path / name / "raw", digits=[1, 2])
    with pytest.raises(InputError, match=r"several sets; .*FashionMNIST.*KMNIST"):
        MNISTDataModule(data_dir=str(tmp_path)).setup("test")
    MNISTDataModule(data_dir=str(tmp_path / "KMNIST")).setup("test")


def test_images_and_labels_come_from_the_same_folder(tmp_path: Path) -> None:
    for place, names in (("A", 0), ("B", 1)):
        write_set(tmp_path / place / "raw", digits=[1, 2])
        (tmp_path / place / "raw" / FILES["test"][names]).unlink()
    with pytest.raises(InputError, match="holds no t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"):
        MNISTDataModule(data_dir=str(tmp_path)).setup("test")


def test_the_plain_file_counts_where_an_archive_lies_beside_it(tmp_path: Path) -> None:
    write_set(tmp_path / "MNIST" / "raw", digits=[4, 5])
    (tmp_path / "MNIST" / "raw" / f"{FILES['test'][0]}.gz").write_text("left over")
    (tmp_path / "MNIST" / "raw" / f"{FILES['test'][0]}.bak").write_text("left over")
    MNISTDataModule(data_dir=str(tmp_path)).setup("test")
