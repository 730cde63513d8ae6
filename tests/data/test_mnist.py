import gzip
import hashlib
from pathlib import Path

import pytest
import torch

from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.data.mnist import ARCHIVES, FILES, LABELS, MNISTDataModule, digit_targets, read_digits
from multilabel_pl.errors import InputError
from multilabel_pl.task import Preprocessing, Task


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


def write_numbered(folder: Path, count: int) -> None:
    """Writes a set of images that all differ, of 2 x 2 pixels."""
    pixels = b"".join(i.to_bytes(4, "big") for i in range(count))
    for images, labels in FILES.values():
        write_idx(folder / images, (count, 2, 2), pixels)
        write_idx(folder / labels, (count,), bytes(i % 10 for i in range(count)))


def opened(folder: Path, **options: int) -> MNISTDataModule:
    data = MNISTDataModule(data_dir=str(folder), **options)  # type: ignore[arg-type]
    data.setup("fit")
    return data


def images_of(images: LabelledImages | None) -> list[bytes]:
    assert images is not None
    return [bytes(image.numpy()) for image in images.images]


def test_shipped_archives_hold_the_original_files() -> None:
    sums = [line.split() for line in (ARCHIVES / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in sums} == {name for names in FILES.values() for name in names}
    for expected, name in sums:
        with gzip.open(ARCHIVES / f"{name}.gz") as archive:
            assert hashlib.file_digest(archive, "sha256").hexdigest() == expected


def test_all_images_are_there_with_their_labels(fitted: MNISTDataModule) -> None:
    assert fitted.labels == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "≥5")
    assert fitted.task == Task(fitted.labels, (1, 28, 28), "mnist")
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


def test_split_has_a_seed_of_its_own(tmp_path: Path) -> None:
    write_numbered(tmp_path, 100)
    first = images_of(opened(tmp_path, val_size=20).val_set)
    torch.manual_seed(1)
    assert images_of(opened(tmp_path, val_size=20).val_set) == first
    assert images_of(opened(tmp_path, val_size=20, split_seed=1).val_set) != first


def test_validation_images_that_trained_a_checkpoint_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_numbered(tmp_path, 100)
    trained = opened(tmp_path, val_size=20)
    state = trained.state_dict()
    for same in (trained, opened(tmp_path, val_size=20, batch_size=7)):
        same.load_state_dict(state)
    other = opened(tmp_path, val_size=30, split_seed=1)
    other.load_state_dict({"seed": 3})  # as version 0.1.0 wrote it
    assert other.seed == 3
    assert capsys.readouterr().err == ""
    other.load_state_dict(state)
    seen = len(set(images_of(other.val_set)) & set(images_of(trained.train_set)))
    assert 0 < seen < 30
    assert capsys.readouterr().err == (
        f"warning: {seen} of 30 val images were used to train this checkpoint: the data or the split has changed\n"
    )
    tested = MNISTDataModule(data_dir=str(tmp_path), val_size=30, split_seed=1)
    tested.setup("test")
    tested.load_state_dict(state)  # the test images are files of their own
    assert capsys.readouterr().err == ""


def test_no_validation_on_request(tmp_path: Path) -> None:
    write_numbered(tmp_path, 10)
    data = opened(tmp_path, val_size=0)
    assert not data.has_validation
    assert len(images_of(data.train_set)) == 10
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


@pytest.mark.parametrize("size", [10, 11])
def test_validation_must_leave_images_to_train_on(size: int, tmp_path: Path) -> None:
    write_numbered(tmp_path, 10)
    with pytest.raises(InputError, match=rf"val_size must be in \[0, 10\), got {size}: set --data\.val_size"):
        opened(tmp_path, val_size=size)


@pytest.mark.parametrize("preprocessing", [None, "mnist"])
def test_other_sets_are_resized_unless_asked_for_otherwise(preprocessing: Preprocessing | None, tmp_path: Path) -> None:
    write_set(tmp_path, digits=[3, 7, 7], size=20)
    data = MNISTDataModule(data_dir=str(tmp_path), preprocessing=preprocessing)
    data.setup("test")
    assert data.task == Task(LABELS, (1, 20, 20), preprocessing or "resize")


@pytest.mark.parametrize("place", ["", "raw", "FashionMNIST/raw"])
def test_other_sets_are_found_where_torchvision_lays_them(tmp_path: Path, place: str) -> None:
    write_set(tmp_path / place, digits=[3, 7, 7], size=20)
    read = read_digits(tmp_path, "test")
    assert read.images.shape == (3, 1, 20, 20)
    assert torch.equal(read.targets, digit_targets(torch.tensor([3, 7, 7])))


IMAGES, DIGITS = FILES["train"]
SET = {IMAGES: idx((3, 28, 28), bytes(3 * 28 * 28)), DIGITS: idx((3,), bytes([1, 2, 3]))}
ZIPPED = gzip.compress(SET[IMAGES])
NO_IDX = f"set/{IMAGES} is truncated or not in IDX format; copy it again"
NO_GZIP = f"set/{IMAGES}.gz is truncated or not a gzip archive; copy it again"
NOTHING = f"set holds no {IMAGES} and {DIGITS} (nor with .gz), and no raw folder in it does"
MISTAKES: dict[str, tuple[dict[str, bytes | None], str]] = {
    "no archive": ({IMAGES: None, DIGITS: None}, NOTHING),
    "one archive": ({DIGITS: None}, NOTHING),
    "a truncated archive": ({IMAGES: SET[IMAGES][:-5]}, NO_IDX),
    "more than the header says": ({IMAGES: SET[IMAGES] + b"\0"}, NO_IDX),
    "a truncated header": ({IMAGES: SET[IMAGES][:6]}, NO_IDX),
    "an empty archive": ({IMAGES: b""}, NO_IDX),
    "a wrong magic": ({IMAGES: b"\xff\xd8\xff\xe0" + SET[IMAGES][4:]}, NO_IDX),
    "an archive of no images": ({IMAGES: idx((0, 28, 28), b"")}, NO_IDX),
    "labels for images": (
        {IMAGES: idx((100,), bytes(100))},
        f"set/{IMAGES} holds type 0x08 and 1 dimensions; it must hold bytes (type 0x08) of 3 dimensions",
    ),
    "numbers for bytes": (
        {IMAGES: b"\0\0\x0d" + SET[IMAGES][3:]},
        f"set/{IMAGES} holds type 0x0d and 3 dimensions; it must hold bytes (type 0x08) of 3 dimensions",
    ),
    "counts that disagree": (
        {DIGITS: idx((2,), bytes([1, 2]))},
        f"set/{IMAGES} holds 3 images, but set/{DIGITS} holds 2 labels: they must agree",
    ),
    "a label of 11": (
        {DIGITS: idx((3,), bytes([1, 2, 11]))},
        f"set/{DIGITS} holds the label 11; it must hold digits, 0 to 9",
    ),
    "a text for a gzip": ({IMAGES: None, f"{IMAGES}.gz": b"not found"}, NO_GZIP),
    "a truncated gzip": ({IMAGES: None, f"{IMAGES}.gz": ZIPPED[:-9]}, NO_GZIP),
    "a gzip with a wrong checksum": ({IMAGES: None, f"{IMAGES}.gz": ZIPPED[:-8] + bytes(8)}, NO_GZIP),
    "a gzip with a flipped bit": ({IMAGES: None, f"{IMAGES}.gz": ZIPPED[:10] + b"\xff" + ZIPPED[11:]}, NO_GZIP),
    "an empty gzip": ({IMAGES: None, f"{IMAGES}.gz": b""}, f"set/{IMAGES}.gz is truncated or not in IDX format"),
    "several sets": (
        {f"A/raw/{name}": content for name, content in SET.items()},
        "set holds several sets; give --data.data_dir one of set, set/A/raw",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_set_is_named_with_its_file(name: str, workplace: Path) -> None:
    files, message = MISTAKES[name]
    for path, content in {**SET, **files}.items():
        if content is not None:
            Path("set", path).parent.mkdir(parents=True, exist_ok=True)
            Path("set", path).write_bytes(content)
    Path("set").mkdir(exist_ok=True)
    with pytest.raises(InputError) as caught:
        read_digits(Path("set"), "train")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("folder", ["nowhere", "file"])
def test_a_set_is_a_folder(folder: str, workplace: Path) -> None:
    Path("file").touch()
    message = rf"^{folder} is not a folder; --data\.data_dir takes the folder of the IDX files$"
    with pytest.raises(InputError, match=message):
        read_digits(Path(folder), "train")


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    write_set(tmp_path, digits=[1, 2])
    (tmp_path / IMAGES).unlink()
    (tmp_path / IMAGES).symlink_to("/proc/self/mem")  # a file, which root can open but not read
    with pytest.raises(InputError, match=rf"{IMAGES} can't be read: Input/output error$"):
        read_digits(tmp_path, "train")


def test_of_several_sets_one_must_be_named(tmp_path: Path) -> None:
    for name in ("FashionMNIST", "KMNIST"):
        write_set(tmp_path / name / "raw", digits=[1, 2])
    with pytest.raises(InputError, match=r"several sets; .*FashionMNIST.*KMNIST"):
        read_digits(tmp_path, "test")
    assert len(read_digits(tmp_path / "KMNIST", "test")) == 2


def test_images_and_labels_come_from_the_same_folder(tmp_path: Path) -> None:
    for place, names in (("A", 0), ("B", 1)):
        write_set(tmp_path / place / "raw", digits=[1, 2])
        (tmp_path / place / "raw" / FILES["test"][names]).unlink()
    with pytest.raises(InputError, match="holds no t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"):
        read_digits(tmp_path, "test")


def test_the_plain_file_counts_where_an_archive_lies_beside_it(tmp_path: Path) -> None:
    write_set(tmp_path / "MNIST" / "raw", digits=[4, 5])
    (tmp_path / "MNIST" / "raw" / f"{FILES['test'][0]}.gz").write_text("left over")
    (tmp_path / "MNIST" / "raw" / f"{FILES['test'][0]}.bak").write_text("left over")
    assert len(read_digits(tmp_path, "test")) == 2
