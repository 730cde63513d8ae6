"""What the cells of a row say: tags in one, or a mark for each label, and the split."""

import ast
import json
import re
from collections.abc import Sequence
from itertools import compress
from operator import itemgetter
from typing import TypeAlias

from multilabel_pl.data.annotations.records import SPLITS, UNKNOWN_MARK
from multilabel_pl.messages import shortened

PRESENT = ("1", "1.0", "true")  # in lower case
ABSENT = ("0", "0.0", "false")
MINUS_ONE = ("-1", "-1.0")
MISSING = ("nan", "none", "null", "na", "n/a", "<na>")  # as programs write that there is no value
UNKNOWN = ("", UNKNOWN_MARK, *MISSING, *MINUS_ONE)
SPLIT_NAMES = {split: split for split in SPLITS} | {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}
VALIDATION_COLUMN = "is_valid"  # fastai's
VALIDATION_NAMES = dict.fromkeys(PRESENT, "val") | dict.fromkeys(ABSENT, "train")
ITEM = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\d+"""  # of a list: Python's or JSON's string, or a number
LIST = re.compile(rf"\[\s*(?:(?:{ITEM})(?:[\s,]+(?:{ITEM}))*)?\s*,?\s*\]", re.DOTALL)  # NumPy writes no commas

Cells: TypeAlias = Sequence[str]
Labels: TypeAlias = tuple[Sequence[str], Sequence[str]]  # those an image carries, and those that are unknown


class RowError(Exception):
    """A problem with a row."""


class TagsCell:
    """Reads labels from one cell: `cat|dog|?owl`, or a list as Python, JSON and NumPy write it."""

    def __init__(self, place: int, delimiter: str) -> None:
        self.place = place
        self.delimiter = delimiter

    def __call__(self, cells: Cells) -> Labels:
        """Returns what a row says of its image."""
        text = cells[self.place].strip()
        if text.startswith("{") and text.endswith("}"):  # a dictionary or a set, as Python or JSON write it
            raise RowError(f"tags must be a list, or have {self.delimiter} between them, got {shortened(text)}")
        parts = (_items(text) if is_list(text) else None) or text.split(self.delimiter)
        names = [name for part in parts if (name := part.strip())]
        return _known_and_unknown(names) if UNKNOWN_MARK in text else (names, ())


def is_list(text: str) -> bool:
    """Returns whether a cell is written as a list."""
    return text.startswith("[") and text.endswith("]")


def _items(text: str) -> list[str] | None:
    """Returns the strings and numbers in a list, None if there is something else in it."""
    if not LIST.fullmatch(text):
        return None
    return [_value(item) for item in re.findall(ITEM, text)] or [""]


def _value(item: str) -> str:
    if item.isdecimal():  # a label, not a number: 007 keeps its zeros
        return item
    try:
        return str(json.loads(item) if item.startswith('"') else ast.literal_eval(item))
    except (ValueError, SyntaxError):  # quotes around what neither language would put there, such as a line break
        return item.strip(item[0])


def _known_and_unknown(names: Sequence[str]) -> Labels:
    tags = [name for name in names if not name.startswith(UNKNOWN_MARK)]
    unknown = [name.removeprefix(UNKNOWN_MARK).strip() for name in names if name.startswith(UNKNOWN_MARK)]
    if "" in unknown or any(name.startswith(UNKNOWN_MARK) for name in unknown):
        raise RowError(f"{UNKNOWN_MARK} must stand before a label, which is then unknown")
    if both := next((name for name in unknown if name in tags), None):
        raise RowError(f"{both} is both a tag and unknown ({UNKNOWN_MARK}{both}): delete the one or the other")
    return tags, unknown


class MarkCells:
    """Reads labels from a cell for each: present, absent or unknown.

    Each spelling is understood when it is first met; a row then costs a lookup for each label.
    """

    def __init__(self, places: Sequence[int], names: Sequence[str]) -> None:
        self.names = names
        self.pick = itemgetter(*places, places[0])  # of one place alone it would return no tuple
        self.present: set[str] = set()
        self.absent: set[str] = set()
        self.unknown: set[str] = set()
        self.met: set[str] = set()

    def __call__(self, cells: Cells) -> Labels:
        """Returns what a row says of its image."""
        marks = self.pick(cells)
        if not self.met.issuperset(marks):
            self._learn(marks)
        tags = list(compress(self.names, map(self.present.__contains__, marks)))
        unknown = list(compress(self.names, map(self.unknown.__contains__, marks))) if self.unknown else ()
        return tags, unknown

    @property
    def takes_minus_one_for_unknown(self) -> bool:
        """Whether -1 was met, and nothing else that could mean absent."""
        return not self.absent and any(mark.strip() in MINUS_ONE for mark in self.unknown)

    def _learn(self, marks: Sequence[str]) -> None:
        for name, mark in zip(self.names, marks, strict=False):
            spelling = mark.strip().lower()
            kinds = ((PRESENT, self.present), (ABSENT, self.absent), (UNKNOWN, self.unknown))
            kind = next((met for spellings, met in kinds if spelling in spellings), None)
            if kind is None:
                remedy = "name a column of tags with --data.tags_column, or those of 0 and 1 with --data.labels"
                raise RowError(
                    f"column '{name}' must be 0, 1, or ? for unknown, got {shortened(mark.strip())}: {remedy}"
                )
            kind.add(mark)
        self.met = self.present | self.absent | self.unknown


class SplitCell:
    """Reads the split from one cell.

    Args:
        place: The cell's number.
        column: The name of its column, one of true and false if that is `VALIDATION_COLUMN`.
    """

    def __init__(self, place: int, column: str) -> None:
        self.place = place
        self.column = column
        self.names = VALIDATION_NAMES if column == VALIDATION_COLUMN else SPLIT_NAMES

    def __call__(self, cells: Cells) -> str | None:
        """Returns the split of a row; None if its cell is empty."""
        cell = cells[self.place].strip()
        split = self.names.get(cell.lower())
        if cell and not split:
            expected = "true or false" if self.names is VALIDATION_NAMES else f"one of {', '.join(SPLITS)}"
            raise RowError(f"{self.column} must be {expected}, got {shortened(cell)}")
        return split
