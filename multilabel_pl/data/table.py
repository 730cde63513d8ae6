"""Your own images, and a table of their tags."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from multilabel_pl.data.annotations.fingerprints import Fingerprints, recorded_images, tag_fingerprints
from multilabel_pl.data.annotations.formats import read_annotations
from multilabel_pl.data.annotations.records import AnnotationError, Annotations, find_repeated, join
from multilabel_pl.data.annotations.splits import Division
from multilabel_pl.data.annotations.tabular import TableFormat
from multilabel_pl.data.cache import ImageCache
from multilabel_pl.data.opening import Opened, Opener, without_twins
from multilabel_pl.data.own_images import OwnImagesDataModule
from multilabel_pl.data.paths import absolute
from multilabel_pl.data.summary import summary
from multilabel_pl.errors import InputError, check_at_least
from multilabel_pl.images.decoding import MAX_PIXELS
from multilabel_pl.images.preprocessing import height_and_width
from multilabel_pl.messages import say
from multilabel_pl.processes import usable_cores
from multilabel_pl.task import WHITE, Task

BYTES_A_GIGABYTE = 1e9


class TableDataModule(OwnImagesDataModule):
    """Your own images, of any size and format, and a table of their tags.

    The table has a column of paths, and either one of tags (`cat|outdoor`; empty for none; `?cat` if unknown) or a
    column of 0 and 1, or ? if unknown, for each label, in CSV, TSV, JSON Lines or Parquet. COCO's JSON, a folder of
    Pascal VOC, and a folder of class folders do as well: the content says what it is. A column `split` may say `train`,
    `val` or `test`. Without it, and without tables of their own, validation and test images are set aside from the
    table, so that each label keeps its share (iterative stratification). Every line is checked, and every image decoded
    once, before anything is done.

    Args:
        table: The table: of all images, or of those for training.
        images: Folder that the paths in the tables are relative to; if not given, that of each table.
        val_table: A table of the validation images.
        test_table: A table of the test images.
        labels: Names of the labels. If not given: the tags of `table`, sorted, or its columns of 0 and 1.
        allow_outside: Whether paths in the tables may lead out of that folder.
        path_column: The column of the paths.
        tags_column: The column of the tags; a table without it has columns of 0 and 1.
        tag_delimiter: Separates two tags.
        split_column: The column of `train`, `val` or `test`, if there is one.
        group_column: The column that says what an image belongs to, such as a patient. A group is not divided.
        image_size: To what images are resized, in pixels: a number for squares, or a height and a width.
        channels: 3 for colour, 1 for grey.
        background: Colour laid behind transparent pixels, by name or as `#rrggbb`.
        val_size: If no image is marked for validation: how many to set aside, as a number, or, below 1, as a share; 0
            validates on none.
        test_size: The same for the test images, which take no part in training or validation.
        default_split: Makes all images that are not marked `val` or `test`, and sets none aside. Commands that evaluate
            a checkpoint do so with a table of images that are new to it.
        folds: For cross-validation: into how many parts to divide the images, one of which is for testing.
        fold: Which part that is, from 0.
        split_seed: Seed of what is set aside, and of nothing else.
        max_memory: Images that take no more gigabytes than this, once decoded, stay in memory; others are decoded again
            in every epoch.
        cache: A folder where decoded images are kept for later runs, epochs and processes; true for one beside the
            table. Only images that are new or have changed are decoded again.
        num_workers: Processes that decode images; one for each core if not given.
        max_pixels: A file that has more is not decoded, but reported.
        **kwargs: Options of every data module.

    Raises:
        InputError: If a value is out of range; (in `setup`) if a table can't be used, or an image can't be read.
    """

    unrecorded = (*OwnImagesDataModule.unrecorded, "cache", "num_workers")

    def __init__(
        self,
        table: str,
        images: str | None = None,
        val_table: str | None = None,
        test_table: str | None = None,
        labels: list[str | int] | None = None,
        allow_outside: bool = False,
        path_column: str = "path",
        tags_column: str = "tags",
        tag_delimiter: str = "|",
        split_column: str = "split",
        group_column: str | None = None,
        image_size: int | list[int] = 64,
        channels: int = 3,
        background: str = WHITE,
        val_size: float = 0.1,
        test_size: float = 0.1,
        default_split: Literal["val", "test"] | None = None,
        folds: int | None = None,
        fold: int = 0,
        split_seed: int = 0,
        max_memory: float = 1.0,
        cache: bool | str = False,
        num_workers: int | None = None,
        max_pixels: int = MAX_PIXELS,
        **kwargs: Any,
    ) -> None:
        super().__init__(val_size, **kwargs)
        check_at_least(1, max_pixels=max_pixels)
        check_at_least(0, test_size=test_size, split_seed=split_seed, max_memory=max_memory)
        check_at_least(0, num_workers=num_workers or 0)
        if folds is not None:
            check_at_least(2, folds=folds)
        if not 0 <= fold < (folds or 1):
            raise InputError(f"fold must be at least 0, and below folds, got {fold} of {folds or 1}")
        if channels not in (1, 3):
            raise InputError(f"channels must be 1 or 3, got {channels}")
        if labels is not None and not labels:
            raise InputError("labels must name at least one label")
        if not tag_delimiter:
            raise InputError("tag_delimiter must not be empty")
        tables = {"table": table, "val_table": val_table, "test_table": test_table}
        self.tables = {name: Path(path) for name, path in tables.items() if path is not None}
        self.images = absolute(images) if images is not None else None
        paths = {**self.tables, **({"images": self.images} if self.images is not None else {})}
        self.hparams.update({name: str(absolute(path)) for name, path in paths.items()})  # for use from other folders
        self.hparams["labels"] = list(map(str, labels)) if labels is not None else None
        self.columns = TableFormat(path_column, tags_column, tag_delimiter, split_column, allow_outside, group_column)
        self.image_shape, self.background = (channels, *height_and_width(image_size)), background
        decoding = Task((), self.image_shape, "resize", background)
        self.test_size = test_size
        self.default_split = default_split
        self.fingerprints = Fingerprints()
        self.split_seed, self.folds, self.fold = split_seed, folds, fold
        self.max_memory = max_memory
        self.num_workers = usable_cores() if num_workers is None else num_workers
        beside = f"{absolute(self.tables['table'])}.cache"
        kept = ImageCache(Path(beside if cache is True else cache), decoding) if cache else None
        self.opener = Opener(decoding, max_pixels, self.num_workers, kept)

    def take_new_images(self, split: Literal["val", "test"], seen: Mapping[str, Any]) -> None:
        """Takes `table`, and it alone, as one split, if a checkpoint's model has seen none of its images.

        Args:
            split: Which one.
            seen: What this class saved in that checkpoint; empty if the model was trained on other data.
        """
        own = self.fingerprints(self.main_table.files)
        if not seen or ("val_images" in seen and not torch.isin(own, recorded_images(seen, ["train", "val"])).any()):
            self.tables, self.default_split = {"table": self.tables["table"]}, split

    @cached_property
    def main_table(self) -> Annotations:
        """The content of `table`."""
        return read_annotations(self.tables["table"], self.images, self.columns, self.hparams["labels"])

    @cached_property
    def annotations(self) -> Annotations:
        """The content of all tables."""
        parts = [self.main_table]
        for split in ("val", "test"):
            if table := self.tables.get(f"{split}_table"):
                own = read_annotations(table, self.images, self.columns, self.main_table.labels)
                parts.append(own.in_split(split))
        joined = join(parts)
        return replace(joined, problems=joined.problems + find_repeated(joined))

    @cached_property
    def splits(self) -> dict[str, Annotations]:
        """The images for training, validation and test."""
        if self.annotations.problems:
            raise AnnotationError(self.annotations.problems + self.opener(self.annotations).problems)
        sizes = {"test": self.test_size, "val": self.val_size}
        return Division(sizes, self.split_seed, self.default_split, self.folds, self.fold)(self.annotations)

    @property
    def source(self) -> str:
        """The tables, as a report names them."""
        return ", ".join(map(str, self.tables.values()))

    @property
    def has_validation(self) -> bool:
        """Whether there are validation images; known before `setup`."""
        return len(self.splits["val"]) > 0

    @property
    def has_test(self) -> bool:
        """Whether there are test images."""
        return len(self.splits["test"]) > 0

    def setup(self, stage: str) -> None:
        """Reads the tables, prints a summary, and opens the images that the stage needs."""
        if not self.labels:
            if self.images is not None and not self.images.is_dir():
                raise InputError(f"there is no folder {self.images}: name that of the images with --data.images")
            splits = self.splits
            self.labels = self.annotations.labels
            self.hparams["labels"] = self.labels  # which a checkpoint keeps, whatever becomes of the table
            say(summary(self.labels, {name: part.targets for name, part in splits.items()}))
        if stage == "fit" and not len(self.splits["train"]):
            raise InputError(f"{self.tables['table']} has no image for training")
        super().setup(stage)

    def setup_training(self) -> None:
        """Opens the training and the validation images."""
        opened = self._open(["test", "val", "train"], unused=["test"])
        self.train_set = opened["train"].images
        self.val_set = opened["val"].images if self.has_validation else None

    def setup_test(self) -> None:
        """Opens the test images."""
        if not self.has_test:
            raise InputError(
                f"{self.tables['table']} has no test image: raise --data.test_size, mark some in a column "
                f"{self.columns.split_column}, or name a table of them with --data.test_table"
            )
        self.test_set = self._open(["test"])["test"].images

    def image_fingerprints(self, split: str) -> Tensor:
        """Returns what the images of a split are known by, their names and contents."""
        return self.fingerprints(self.splits[split].files)

    def tag_fingerprints(self, split: str) -> Tensor:
        """Returns what their tags are known by."""
        return tag_fingerprints(self.splits[split].labels, self.splits[split].marks)

    def _open(self, splits: Sequence[str], unused: Sequence[str] = ()) -> dict[str, Opened]:
        """Opens the images of some splits, and keeps them in memory if those of the whole table fit there.

        Args:
            splits: The splits, the test images first. Images of others are left out of those that follow.
            unused: Splits whose images are not needed yet, but should be readable when they are.

        Raises:
            AnnotationError: If there is an image that can't be read.
        """
        fits = len(self.annotations) * math.prod(self.image_shape) <= self.max_memory * BYTES_A_GIGABYTE
        opened = {s: self.opener(self.splits[s], fits and s not in unused) for s in splits}
        if problems := [problem for own in opened.values() for problem in own.problems]:
            raise AnnotationError(problems)
        for own in opened.values():
            self.fingerprints.known.update(zip(own.part.files, own.found.fingerprints, strict=False))
        opened = without_twins(opened)
        self.splits.update({split: own.part for split, own in opened.items()})
        return opened
