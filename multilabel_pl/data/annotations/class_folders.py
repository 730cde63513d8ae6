"""A folder with a folder of images for each class; an image that lies in several of them has several tags."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from multilabel_pl.data.annotations.cells import SPLIT_NAMES
from multilabel_pl.data.annotations.collecting import collect
from multilabel_pl.data.annotations.groups import same_content
from multilabel_pl.data.annotations.records import SPLITS, Annotations, Entry
from multilabel_pl.errors import InputError
from multilabel_pl.images.decoding import is_image_name
from multilabel_pl.messages import note

Class: TypeAlias = tuple[str | None, str]  # the split, None if the folders don't name it, and the label

OWN, ALL = "*", "**/*"  # patterns of the images of a folder itself, and of its folders as well
RUNS = "runs"  # where our own lie if one trains in the folder of the images


def find_classes(root: Path) -> dict[Class, list[Path]]:
    """Returns the images below each class's folder, `cat/` or `train/cat/`; empty if there are none.

    Raises:
        InputError: If it isn't clear which folders are splits, and which are classes.
    """
    top = [folder for folder in _folders(root) if not _holds_runs(folder)]
    parts = [folder for folder in top if folder.name.lower() in SPLIT_NAMES and _holds_folders(folder)]
    folders: list[tuple[Class, Path]]
    if parts:
        if others := [folder.name for folder in top if folder not in parts and _has_images(folder, ALL)]:
            splits = f"folders of splits, such as {parts[0].name}, and beside them {others[0]} with images"
            raise InputError(f"{root} has {splits}: name it {', '.join(SPLITS)}, or move it away")
        folders = [((SPLIT_NAMES[part.name.lower()], inner.name), inner) for part in parts for inner in _folders(part)]
    else:
        _check_nested([folder for folder in top if _holds_folders(folder)])
        folders = [((None, folder.name), folder) for folder in top]
    found: dict[Class, list[Path]] = {}
    for key, folder in folders:  # of one split there may be several, such as `val` and `dev`
        if files := _images(folder):
            found[key] = found.get(key, []) + files
    if found and (count := sum(1 for folder in (root, *parts) for _ in _find(folder, OWN))):
        note(f"{root}: images outside of the folders of classes have no label, and are left out: {count}")
    return found


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
    folders = (path for path in root.iterdir() if path.is_dir())
    return sorted(path for path in folders if not path.name.startswith(left_out))


def _holds_runs(folder: Path) -> bool:
    """Whether a folder is that of our own runs, rather than of a class of its name."""
    return folder.name == RUNS and any(run.is_dir() for run in folder.glob("version_*"))


def _find(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in folder.glob(pattern) if is_image_name(path) and path.is_file())


def _images(folder: Path) -> list[Path]:
    return sorted(_find(folder, ALL))


def _has_images(folder: Path, pattern: str) -> bool:
    return next(_find(folder, pattern), None) is not None  # the first one is enough


def _holds_folders(folder: Path) -> bool:
    """Whether a folder holds folders of images, and no image itself."""
    return not _has_images(folder, OWN) and any(_has_images(inner, ALL) for inner in _folders(folder))


def _check_nested(folders: Sequence[Path]) -> None:
    """Checks that folders of folders are classes, rather than splits of other names."""
    first: dict[str, Path] = {}
    for folder in folders:
        for inner in _folders(folder):
            if (other := first.setdefault(inner.name, folder)) != folder:
                both = f"{other} and {folder} both have a folder {inner.name}"
                raise InputError(
                    f"{both}: if they are splits, name them {', '.join(SPLITS)}; if not, rename one of these"
                )


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
