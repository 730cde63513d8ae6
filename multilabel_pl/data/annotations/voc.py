"""Pascal VOC's folder of XML files: an image's tags are the names of its objects."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from xml.etree import ElementTree

from multilabel_pl.data.annotations.collecting import collect
from multilabel_pl.data.annotations.records import SPLITS, Annotations, Entry, Problem
from multilabel_pl.data.annotations.tabular import TableFormat

VOC_IMAGES = "JPEGImages"  # folders
ANNOTATIONS = "Annotations"
SPLIT_LISTS = "ImageSets/Main"
MARK = re.compile(r"\s+(-1|0|1)$")  # after a name, as in the lists of a class


def find_xml(folder: Path) -> list[Path]:
    """Returns the XML files of a folder in VOC's layout, or of one that holds them itself; none in another."""
    return sorted((folder / ANNOTATIONS).glob("*.xml")) or sorted(folder.glob("*.xml"))


def read_voc(
    root: Path, files: Sequence[Path], folder: Path, columns: TableFormat, labels: Sequence[str] | None = None
) -> Annotations:
    """Reads VOC's annotations. A label of which an image has difficult objects alone is unknown, as VOC's rules are.

    Args:
        root: The folder; its `ImageSets/Main/train.txt`, `val.txt` and `test.txt`, if there, name the splits.
        files: The XML files.
        folder: Folder that the images' paths are relative to, and may not leave.
        columns: Whether paths may lead out of the folder; VOC's names are what they are.
        labels: Names of the labels; others are left out. If not given: those that occur, sorted.

    Raises:
        InputError: As `collect` does.
    """
    splits = _splits(root, {file.stem for file in files})
    entries = (_entry(file, splits.get(file.stem), labels) for file in files)
    return collect(root, entries, folder, labels, columns.allow_outside)


def _splits(root: Path, names: Collection[str]) -> dict[str, str]:
    """Returns the splits by the names of images without their endings, of which there are `names`."""
    return {
        line if line in names else MARK.sub("", line): split
        for split in SPLITS
        if (path := root / SPLIT_LISTS / f"{split}.txt").is_file()
        for line in map(str.strip, path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines())
    }


def _entry(file: Path, split: str | None, labels: Sequence[str] | None) -> Entry | Problem:
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        return Problem(str(file), 0, f"is not XML: {error}")
    name = (root.findtext("filename") or "").strip()
    if root.tag != "annotation" or not name:
        return Problem(str(file), 0, "is not as VOC has it: <annotation> with a <filename> is missing")
    objects = [
        ((each.findtext("name") or "").strip(), each.findtext("difficult") == "1") for each in root.iter("object")
    ]
    if any(not label for label, _ in objects):
        return Problem(str(file), 0, "has an <object> without a <name>")
    wanted = {label for label, _ in objects if labels is None or label in labels}
    tags = {label for label, is_difficult in objects if not is_difficult} & wanted
    return Entry(str(file), 0, name, sorted(tags), sorted(wanted - tags), split)
