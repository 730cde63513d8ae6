"""MNIST with an eleventh label: the ten digits, and `≥5`."""

import gzip
import math
import zlib
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from multilabel_pl.data.datamodule import LabelledDataModule, warn_of_seen
from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.data.split import split_indices
from multilabel_pl.errors import InputError, check_at_least
from multilabel_pl.messages import note
from multilabel_pl.schema.forms import COUNT, TEXT, either, exactly
from multilabel_pl.task import Preprocessing

NUM_DIGITS = 10
LARGE_DIGIT = 5  # the smallest digit that is tagged `≥5`
LABELS = (*map(str, range(NUM_DIGITS)), f"≥{LARGE_DIGIT}")
UINT8 = 8  # the type of bytes in IDX format

SPLIT = {"data_dir": either(TEXT, exactly(None)), "val_size": COUNT, "split_seed": COUNT}  # what decides it
ARCHIVES = Path(__file__).parent / "archives"
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class MNISTDataModule(LabelledDataModule):
    """MNIST, tagged with its digit and with `≥5`; the images are part of the package.

    Args:
        data_dir: Folder of another set in MNIST's format, laid out as torchvision does (Fashion-MNIST, KMNIST, your
            own); MNIST itself, shipped with the package, if not given.
        preprocessing: How other images are brought to the shape of these: `mnist` finds the digit on a page, `resize`
            takes the whole image. `mnist` for MNIST itself, `resize` for another set, if not given.
        val_size: Number of training images set aside for validation; 0 trains on all of them and validates on none.
        split_seed: Seed of the split into training and validation images, and of nothing else.
        **kwargs: Options of every data module.

    Raises:
        InputError: If a size or the seed is out of range, or (in `setup`) if the data can't be read.
    """

    labels = LABELS
    train_set: LabelledImages | None = None
    val_set: LabelledImages | None = None
    test_set: LabelledImages | None = None

    state_forms = LabelledDataModule.state_forms | SPLIT | {"digest": TEXT}

    def __init__(
        self,
        data_dir: str | None = None,
        preprocessing: Preprocessing | None = None,
        val_size: int = 5000,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(val_size, **kwargs)
        check_at_least(0, split_seed=split_seed)
        self.folder = Path(data_dir) if data_dir is not None else ARCHIVES
        self.preprocessing = preprocessing or ("mnist" if data_dir is None else "resize")
        if data_dir is not None:
            self.hparams["data_dir"] = str(self.folder.resolve())  # a checkpoint may be used from another folder
        self.split_seed = split_seed

    @property
    def source(self) -> str:
        """The folder of the images, as a report names it."""
        return "MNIST" if self.folder == ARCHIVES else str(self.folder)

    @cached_property
    def digest(self) -> str:
        """A digest of the files of the training and validation images."""
        contents = (path.read_bytes() for path in _find(self.folder, FILES["train"]))
        return blake2b(b"".join(contents), digest_size=16).hexdigest()

    def setup_training(self) -> None:
        """Reads the training images, and sets some aside for validation."""
        everything = read_digits(self.folder, "train")
        train, val = split_indices(len(everything), int(self.val_size), self.split_seed)
        self.image_shape = _shape(everything)
        self.train_set = everything.subset(train) if self.has_validation else everything
        self.val_set = everything.subset(val) if self.has_validation else None

    def setup_test(self) -> None:
        """Reads the test images."""
        self.test_set = read_digits(self.folder, "test")
        self.image_shape = _shape(self.test_set)

    def state_dict(self) -> dict[str, Any]:
        """Also returns what decides the split, and a digest of the files, but for those of the package."""
        state = super().state_dict() | {name: self.hparams[name] for name in SPLIT}
        return state if self.hparams["data_dir"] is None else state | {"digest": self.digest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Also warns of validation images that trained the checkpoint's model."""
        super().load_state_dict(state_dict)
        resuming = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        same = "digest" in state_dict and state_dict.get("data_dir") == self.hparams["data_dir"]
        if resuming and same and self.digest != state_dict["digest"]:
            note(f"resuming with other images: the files in {self.folder} have changed")
        if self.train_set is None or self.val_set is None or not state_dict.keys() >= SPLIT.keys():
            return
        size = len(self.train_set) + len(self.val_set)
        if state_dict["data_dir"] != self.hparams["data_dir"] or state_dict["val_size"] >= size:
            return  # other images
        _, own = split_indices(size, int(self.val_size), self.split_seed)
        trained, _ = split_indices(size, state_dict["val_size"], state_dict["split_seed"])
        warn_of_seen(int(torch.isin(own, trained).sum()), len(own), "val", "train")


def read_digits(folder: Path, part: str) -> LabelledImages:
    """Reads one part of a set in MNIST's format.

    Args:
        folder: The folder of the files, plain or gzipped, or the one that torchvision calls `root`.
        part: `train` or `test`.

    Returns:
        The images, uint8 (N, 1, H, W), and their targets (N, 11).

    Raises:
        InputError: If a file is missing or damaged, the two files disagree, or a label is not a digit.
    """
    images_path, labels_path = _find(folder, FILES[part])
    images = _read_idx(images_path, dimensions=3)
    digits = _read_idx(labels_path, dimensions=1)
    if len(images) != len(digits):
        raise InputError(
            f"{images_path} holds {len(images)} images, but {labels_path} holds {len(digits)} labels: they must agree"
        )
    if digits.max() >= NUM_DIGITS:
        raise InputError(f"{labels_path} holds the label {digits.max()}; it must hold digits, 0 to {NUM_DIGITS - 1}")
    return LabelledImages(images.unsqueeze(1), digit_targets(digits))  # (N, H, W) -> (N, 1, H, W)


def digit_targets(digits: Tensor) -> Tensor:
    """Tags each digit with itself and, where it is at least 5, with `≥5`.

    Args:
        digits: (N,) in 0..9.

    Returns:
        float32 (N, 11) of 0 and 1.
    """
    one_hot = F.one_hot(digits.long(), NUM_DIGITS)  # (N,) -> (N, 10)
    large = (digits >= LARGE_DIGIT).unsqueeze(1)  # (N, 1)
    return torch.cat([one_hot, large], dim=1).float()


def _shape(data: LabelledImages) -> tuple[int, int, int]:
    _, channels, height, width = data.images.shape
    return channels, height, width


def _find(folder: Path, names: tuple[str, str]) -> list[Path]:
    """Looks for files, plain or gzipped, in `folder`, `folder/raw` and `folder/*/raw`, as torchvision lays them out."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; --data.data_dir takes the folder of the IDX files")
    places = [folder, folder / "raw", *sorted(folder.glob("*/raw"))]
    found = {place: paths for place in places if len(paths := _files(place, names)) == len(names)}
    if not found:
        raise InputError(f"{folder} holds no {' and '.join(names)} (nor with .gz), and no raw folder in it does")
    if len(found) > 1:
        sets = ", ".join(str(place) for place in found)
        raise InputError(f"{folder} holds several sets; give --data.data_dir one of {sets}")
    return next(iter(found.values()))


def _files(place: Path, names: tuple[str, str]) -> list[Path]:
    choices = [(place / name, place / f"{name}.gz") for name in names]
    return [next(path for path in pair if path.is_file()) for pair in choices if any(path.is_file() for path in pair)]


def _read_idx(path: Path, dimensions: int) -> Tensor:
    """Reads a uint8 tensor from a file in IDX format (http://yann.lecun.com/exdb/mnist/), plain or gzipped.

    The header is 0, 0, the type (8 for uint8), the number of dimensions, and each dimension as a big-endian int32.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(f"{path} is truncated or not a gzip archive; copy it again") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    start = 4 * (1 + dimensions)
    if content[:2] != b"\0\0" or len(content) < start:
        raise InputError(f"{path} is truncated or not in IDX format; copy it again")
    if content[2] != UINT8 or content[3] != dimensions:
        kind = f"type 0x{content[2]:02x} and {content[3]} dimensions"
        raise InputError(f"{path} holds {kind}; it must hold bytes (type 0x08) of {dimensions} dimensions")
    shape = np.frombuffer(content, ">u4", count=dimensions, offset=4).tolist()
    if 0 in shape or len(content) != start + math.prod(shape):
        raise InputError(f"{path} is truncated or not in IDX format; copy it again")
    return torch.from_numpy(np.frombuffer(bytearray(content), np.uint8, offset=start).reshape(shape))
