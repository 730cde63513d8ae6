"""A folder with a folder of images for each class; an image that lies in several of them has several tags."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from multilabel_pl.data.annotations.cells import SPLIT_NAMES
from multilabel_pl.data.annotations.collecting import collect
from multilabel_pl.data.annotations.groups import same_content
from multilabel_pl.data.annotations.records import Annotations, Entry
from multilabel_pl.images.decoding import is_image_name

Class: TypeAlias = tuple[str | None, str]  # the split, None if the folders don't name it, and the label

RUNS = "runs"  # our own, which lie there if one trains in the folder of the images


def find_classes(root: Path) -> dict[Class, list[Path]]:
    """Returns the images below each class's folder, `cat/` or `train/cat/`; empty if there are none."""
    top = _folders(root)
    folders: dict[Class, Path]
    if top and all(folder.name.lower() in SPLIT_NAMES for folder in top):
        folders = {(SPLIT_NAMES[part.name.lower()], folder.name): folder for part in top for folder in _folders(part)}
    else:
        folders = {(None, folder.name): folder for folder in top}
    return {key: files for key, folder in folders.items() if (files := _images(folder))}


def read_class_folders(
    root: Path, classes: Mapping[Class, Sequence[Path]], labels: Sequence[str] | None = None
) -> Annotations:
    """Reads images by the folders that they lie in. Files of the same content in several are one image.

    Args:
        root: The folder of the folders.
        classes: What `find_classes` found there.
        labels: Names of the labels; other folders' images have none. If not given: the names of the folders, sorted.

    Raises:
        InputError: As `collect` does.
    """
    return collect(root, _entries(root, classes, labels), root, labels)


def _folders(root: Path) -> list[Path]:
    left_out = (".", "__")  # what systems and programs put beside folders of their users
    folders = (path for path in root.iterdir() if path.is_dir() and path.name != RUNS)
    return sorted(path for path in folders if not path.name.startswith(left_out))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if is_image_name(path) and path.is_file())


def _entries(root: Path, classes: Mapping[Class, Sequence[Path]], labels: Sequence[str] | None) -> Iterator[Entry]:
    for split in dict.fromkeys(split for split, _ in classes):
        own = [(str(file), label) for (part, label), some in classes.items() if part == split for file in some]
        files = [file for file, _ in own]
        first = {copy: original for original, *copies in same_content(files) for copy in copies}
        tags: dict[int, set[str]] = defaultdict(set)
        for index, (_, label) in enumerate(own):
            tags[first.get(index, index)].add(label)
        for index, names in tags.items():
            wanted = [name for name in sorted(names) if labels is None or name in labels]
            yield Entry(files[index], 0, str(Path(files[index]).relative_to(root)), wanted, (), split)
