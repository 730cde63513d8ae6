"""Annotations in any format: which one it is, the content says."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from multilabel_pl.data.annotations.cells import SPLIT_NAMES
from multilabel_pl.data.annotations.class_folders import find_classes, read_class_folders
from multilabel_pl.data.annotations.coco import is_coco, read_coco
from multilabel_pl.data.annotations.csv_table import read_csv
from multilabel_pl.data.annotations.json_records import read_json_lines, read_json_list
from multilabel_pl.data.annotations.parquet import read_parquet
from multilabel_pl.data.annotations.records import Annotations, join
from multilabel_pl.data.annotations.tabular import TableFormat
from multilabel_pl.data.annotations.voc import VOC_IMAGES, find_xml, read_voc
from multilabel_pl.errors import InputError

METADATA = (  # in a folder of images, as Hugging Face and Roboflow name them
    *("metadata.csv", "metadata.jsonl", "metadata.parquet"),
    *("_classes.csv", "_annotations.coco.json"),
)
COCO_FOLDER = "annotations"
PARQUET = b"PAR1"
OTHERS = {  # by how their files begin
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"PK\x03\x04": "an Excel workbook or a ZIP archive",
    b"\x1f\x8b": "compressed by gzip",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a PDF document",
    b"<": "XML or HTML",
}
WANTED = "take a table (CSV, TSV, JSON Lines, Parquet), COCO's JSON, a folder of Pascal VOC's XML, or class folders"


def _images_folder(path: Path) -> Path:
    """Returns the folder that the paths in a file are relative to, where none is named."""
    if path.suffix == ".json" and path.parent.name == COCO_FOLDER:  # annotations/instances_val2017.json: val2017
        own = path.parent.parent / path.stem.rpartition("_")[2]
        return own if own.is_dir() else path.parent
    return path.parent


def read_annotations(
    path: Path, images: Path | None, columns: TableFormat, labels: Sequence[str] | None = None
) -> Annotations:
    """Reads which image carries which labels.

    Args:
        path: A table (CSV, TSV, JSON Lines, a list in JSON, Parquet), COCO's JSON, or a folder: with a metadata file
            of Hugging Face or Roboflow, of Pascal VOC, or of class folders.
        images: Folder that the images' paths are relative to, and may not leave; if not given, that which is usual for
            the format.
        columns: What the columns of a table mean.
        labels: Names of the labels. If not given: those that occur, in the file's order or sorted.

    Raises:
        InputError: If it can't be read, is in another format, or holds no image or label.
    """
    if path.is_dir():
        return _read_folder(path, images, columns, labels)
    if not path.is_file():
        raise InputError(f"there is no table {path}: name it with --data.table")
    try:
        with path.open("rb") as file:
            start = file.read(100).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    if other := next((name for magic, name in OTHERS.items() if start.startswith(magic)), None):
        raise InputError(f"{path} is {other}: {WANTED}")
    folder = images or _images_folder(path)
    if start.startswith(PARQUET):
        return read_parquet(path, folder, columns, labels)
    if start.startswith((b"{", b"[")):
        return _read_json(path, folder, columns, labels)
    return read_csv(path, folder, columns, labels)


def _read_json(path: Path, folder: Path, columns: TableFormat, labels: Sequence[str] | None) -> Annotations:
    first = _first_line(path)
    if isinstance(first, dict) and not is_coco(first):
        return read_json_lines(path, folder, columns, labels)
    try:
        content = first or json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not in JSON: {error}") from None
    if isinstance(content, list):
        return read_json_list(path, content, folder, columns, labels)
    if is_coco(content):
        return read_coco(path, content, folder, columns, labels)
    keys = ", ".join(content)
    raise InputError(f"{path} has {keys[:80]} in JSON, but not images, annotations and categories as COCO: {WANTED}")


def _first_line(path: Path) -> Any:
    """Returns the value on the first line of a file, which may be all of it; None if that is no value in JSON."""
    with suppress(ValueError, RecursionError), path.open(encoding="utf-8-sig") as file:
        return json.loads(file.readline())
    return None


def _read_folder(root: Path, images: Path | None, columns: TableFormat, labels: Sequence[str] | None) -> Annotations:
    if metadata := _metadata(root):
        return _read_parts(metadata, columns, labels)
    if files := find_xml(root):
        usual = root / VOC_IMAGES
        return read_voc(root, files, images or (usual if usual.is_dir() else root), columns, labels)
    if files := sorted((root / COCO_FOLDER).glob("*.json")):
        example = next((file for file in files if file.name.startswith("instances_train")), files[0])
        raise InputError(f"{root} has files of COCO: name one, such as {example}")
    if classes := find_classes(root):
        return read_class_folders(root, classes, labels)
    expected = f"{METADATA[0]}, XML files of Pascal VOC, or a folder of images for each class"
    raise InputError(f"{root} is a folder without {expected}")


def _metadata(root: Path) -> list[tuple[str | None, Path]]:
    """Returns the metadata files: one of all images, under None, or those of splits, `train/` first."""
    if found := _metadata_file(root):
        return [(None, found)]
    return [(split, path) for name, split in SPLIT_NAMES.items() if (path := _metadata_file(root / name))]


def _metadata_file(folder: Path) -> Path | None:
    return next((folder / name for name in METADATA if (folder / name).is_file()), None)


def _read_parts(
    metadata: Sequence[tuple[str | None, Path]], columns: TableFormat, labels: Sequence[str] | None
) -> Annotations:
    parts = []
    for split, path in metadata:
        part = read_annotations(path, None, columns, labels)
        labels = part.labels  # those of the first
        parts.append(part if split is None else part.in_split(split))
    return join(parts)
