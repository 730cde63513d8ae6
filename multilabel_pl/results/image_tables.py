"""Tables with rows on images, as CSV in UTF-8; other bytes in the names of files are escaped."""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from multilabel_pl.atomic import atomic_path
from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.results.text import paths_from_here

Row = tuple[int, Sequence[object]]  # the index of an image, and what is said of it


def image_names(images: LabelledDataset | None) -> tuple[str, Callable[[int], str]]:
    """Returns what images are called by: the name of a column, and for each index the path, or itself without one."""
    if images is None or not images.paths:
        return "index", str
    return "path", paths_from_here(images.paths).__getitem__


def write_image_table(images: LabelledDataset | None, header: Sequence[str], rows: Iterable[Row], path: Path) -> None:
    """Writes rows, each of which begins with an image's path, or its index if it has none.

    Args:
        images: The images, if they are known.
        header: Names of the other columns.
        rows: The rows.
        path: Where to.
    """
    column, name = image_names(images)
    with (
        atomic_path(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column, *header])
        for index, cells in rows:
            writer.writerow([name(index), *cells])
