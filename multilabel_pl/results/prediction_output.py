"""Where a table of predictions and its figure are written, and in which form."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from multilabel_pl.atomic import check_writable
from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.errors import InputError, check_extra
from multilabel_pl.file_names import STDOUT
from multilabel_pl.messages import abridged, shortened
from multilabel_pl.results.prediction_parquet import ParquetFormat
from multilabel_pl.results.prediction_tables import CsvFormat, JsonLinesFormat, PredictedImages, TableFormat, columns_of

MAX_DRAWN = 100
MAX_EXPLAINED = 9  # labels, beside an image in a row of the sheet
TUTORIAL_IMAGE = 9  # that the tutorial shows
BESIDE_CHECKPOINT = "predict/predictions.csv"
FORMATS: dict[str, Callable[[Sequence[str], Sequence[str], bool], TableFormat]] = {
    ".csv": CsvFormat,
    ".jsonl": JsonLinesFormat,
    ".parquet": ParquetFormat,
}


@dataclass(frozen=True)
class PredictionOutput:
    """What `predict` is asked to write.

    Args:
        table: Path of the table, ending in .csv, .jsonl or .parquet, or `-` for CSV on standard output.
        figure: True for a sheet of the first images and their tags; an index, or several, for the probabilities of
            these images; False for nothing. If not given, image 9 of labelled images, and nothing of files.
        spreadsheet: Whether a table in CSV is for a spreadsheet, which would take some names for formulas.
        explain: Labels of which the figure is to show heat maps: a sheet of the first images if `figure` isn't given.

    Raises:
        InputError: If the table ends in something else, there are too many images or labels to draw, a figure has no
            name, or a package is needed and not installed.
    """

    table: Path
    figure: bool | int | Sequence[int] | None = None
    spreadsheet: bool = False
    explain: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.is_stdout and self.table.suffix not in FORMATS:
            raise InputError(f"output must end in .csv, .jsonl or .parquet, or be -, got {self.table}")
        no_figure = self.figure is False or self.figure == []
        wants_figure = self.figure is not None and not no_figure
        if self.is_stdout and (self.explain or wants_figure):
            drawn = "explain" if self.explain else "figure"
            raise InputError(f"a table on standard output has no figure beside it: leave out {drawn}, or name a file")
        if isinstance(self.figure, Sequence) and len(self.figure) > MAX_DRAWN:
            raise InputError(f"figure takes at most {MAX_DRAWN} images, got {len(self.figure)}")
        if self.table.suffix == ".parquet":
            check_extra("parquet", "a table in Parquet")
        if self.explain:
            check_extra("explain", "an explanation")
        if self.explain and no_figure:
            raise InputError("explain draws a figure, which figure false leaves out: leave out one of them")
        if len(self.explain) > MAX_EXPLAINED:
            raise InputError(f"explain takes at most {MAX_EXPLAINED} labels, got {len(self.explain)}")

    @property
    def is_stdout(self) -> bool:
        """Whether the table goes to standard output."""
        return str(self.table) == STDOUT

    @property
    def drawing(self) -> Path:
        """Path of the figure."""
        return self.table.with_suffix(".png")

    def format(self, images: PredictedImages, labels: Sequence[str]) -> TableFormat:
        """Returns the form of the table."""
        return FORMATS.get(self.table.suffix, CsvFormat)(columns_of(images), labels, self.spreadsheet)

    def chosen(self, images: PredictedImages, size: int) -> list[int]:
        """Returns the indices of the images to draw, of the first `size`.

        Raises:
            InputError: If an index is out of range.
        """
        if self.is_stdout:
            return []
        if self.figure is None and not self.explain:
            return [min(TUTORIAL_IMAGE, size - 1)] if isinstance(images, LabelledDataset) else []
        if self.figure is False:
            return []
        if self.figure is None or self.figure is True:
            return list(range(min(size, MAX_DRAWN)))
        asked = [self.figure] if isinstance(self.figure, int) else list(self.figure)
        for index in asked:
            if not 0 <= index < size:
                raise InputError(f"figure takes numbers of images from 0 to {size - 1}, got {index}")
        return asked

    def explained(self, labels: Sequence[str]) -> list[int]:
        """Returns the indices of the labels to explain.

        Raises:
            InputError: If there is no such label.
        """
        for name in self.explain:
            if name not in labels:
                close = get_close_matches(name, labels, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"it has {abridged(labels)}"
                raise InputError(f"explain takes labels of the model, got {shortened(name)!r}: {hint}")
        return [labels.index(name) for name in self.explain]

    def check(self, images: PredictedImages) -> None:
        """Checks that the files can be written, and are none of the images.

        Raises:
            InputError: If not.
        """
        for path in () if self.is_stdout else (self.table, self.drawing):
            if path.is_dir():
                raise InputError(f"{path} is a folder; choose another output")
            if path.exists() and _is_among(path, images.paths or []):
                raise InputError(f"{path} would replace an image that is to be predicted; choose another output")
        if not self.is_stdout:
            check_writable(self.table)


def _is_among(path: Path, images: Sequence[Path]) -> bool:
    """Whether a file is one of millions, of which few have its suffix."""
    return any(image.suffix == path.suffix and image.resolve() == path.resolve() for image in images)
