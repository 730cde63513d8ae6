"""Pictures of digits and a table of their tags, as users have them."""

import csv
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from multilabel_pl import SceneDataModule
from multilabel_pl.model.prediction import name_tags


def write_pictures(folder: Path, count: int, start: int = 0) -> list[tuple[str, list[str]]]:
    """Writes scenes as PNG files, and returns their paths, relative to the folder, and their tags."""
    data = SceneDataModule(train_size=start + count, val_size=0, test_size=1, canvas_size=48, max_digits=2)
    data.setup("fit")
    assert data.train_set is not None
    images, targets = data.train_set.__getitems__(list(range(start, start + count)))
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rows = []
    for i, (image, tags) in enumerate(zip(images, name_tags(targets.bool(), data.labels), strict=True)):
        rows.append((f"pictures/{start + i:03}.png", tags))
        Image.fromarray(image[0].numpy()).save(folder / rows[-1][0])
    return rows


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def write_tagged(folder: Path, count: int, start: int = 0, name: str = "pictures.csv") -> str:
    """Writes pictures, and a table of their paths and tags."""
    rows = write_pictures(folder, count, start)
    return write_table(folder / name, ["path", "tags"], [[path, "|".join(tags)] for path, tags in rows])
