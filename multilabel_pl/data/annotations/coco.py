"""COCO's JSON: an image's tags are the categories of its annotations."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from multilabel_pl.data.annotations.collecting import collect
from multilabel_pl.data.annotations.records import Annotations, Entry
from multilabel_pl.data.annotations.tabular import TableFormat
from multilabel_pl.errors import InputError


def is_coco(content: Any) -> bool:
    """Returns whether something read from JSON has the parts of COCO's annotations."""
    return isinstance(content, dict) and content.keys() >= {"images", "annotations", "categories"}


def read_coco(
    file: Path, content: Mapping[str, Any], folder: Path, columns: TableFormat, labels: Sequence[str] | None = None
) -> Annotations:
    """Reads annotations of objects in images; an image without any carries no label.

    Where images have `neg_category_ids`, as LVIS does, categories that are neither annotated nor among these are
    unknown.

    Args:
        file: The file.
        content: What it holds.
        folder: Folder that the images' paths are relative to, and may not leave.
        columns: Whether paths may lead out of the folder; COCO's names are what they are.
        labels: Names of the labels; other categories are left out. If not given: all, in the order of the file.

    Raises:
        InputError: If a part is missing or not as COCO has it, or a label is no category.
    """
    try:
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        carried: dict[Any, set[Any]] = {image["id"]: set() for image in content["images"]}
        for annotation in content["annotations"]:
            carried[annotation["image_id"]].add(annotation["category_id"])
        wanted = labels or list(dict.fromkeys(names.values()))
        entries = list(_entries(file, content["images"], carried, names, set(wanted)))
    except KeyError as error:
        raise InputError(f"{file} is not as COCO has it: {error} is missing or refers to nothing") from None
    except (TypeError, AttributeError) as error:
        raise InputError(f"{file} is not as COCO has it: {error}") from None
    if missing := [label for label in wanted if label not in names.values()]:
        raise InputError(f"{file} has no category {missing[0]}, but {', '.join(names.values())}")
    return collect(file, entries, folder, wanted, columns.allow_outside)


def _entries(
    file: Path,
    images: Sequence[Mapping[str, Any]],
    carried: Mapping[Any, set[Any]],
    names: Mapping[Any, str],
    labels: set[str],
) -> Iterator[Entry]:
    source = f"{file}, image"
    for number, image in enumerate(images, 1):
        present = carried[image["id"]]
        unknown = names.keys() - present - set(image["neg_category_ids"]) if "neg_category_ids" in image else set()
        tags, doubtful = ([name for i in ids if (name := names[i]) in labels] for ids in (present, unknown))
        yield Entry(source, number, str(image["file_name"]), tags, doubtful)
