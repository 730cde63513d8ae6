"""Text that fits: names are cut, lists and tables shortened; on screens, wide characters count as two."""

import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from multilabel_pl.messages import one_line, shortened

# What Markdown, with GitHub's additions, takes for markup in a cell of a table; underscores within words are none.
MARKUP = re.compile(r"[\\`*$~|<\[]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")
COMBINING = ("Mn", "Me", "Cf")  # categories of characters that take no place of their own


def utf_8(name: str) -> str:
    """Escapes what is not UTF-8 in the name of a file, as the tables do."""
    return name.encode(errors="backslashreplace").decode()


def paths_from_here(paths: Sequence[Path]) -> list[str]:
    """Names files by their paths from the working folder if they lie within, as they would be typed."""
    here = f"{Path.cwd()}{os.sep}"
    return [str(path).removeprefix(here) for path in paths]


def listed(names: Sequence[str], width: int, lines: int) -> str:
    """Joins names by commas, on so many lines of a width at most; those that don't fit are counted."""
    short = [shortened(name, width) for name in names]
    for count in range(min(len(short), width * lines), 0, -1):
        more = f" +{len(short) - count} more" if count < len(short) else ""
        wrapped = textwrap.wrap(", ".join(short[:count]) + more, width, break_on_hyphens=False)
        if len(wrapped) <= lines:
            return "\n".join(wrapped)
    return f"{len(names)} tags" if names else "nothing"


def display_width(text: str) -> int:
    """Returns how many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.category(character) in COMBINING for character in text)


def as_markdown(text: str) -> str:
    """Writes a text in one line of Markdown."""
    return MARKUP.sub(r"\\\g<0>", one_line(text))


def as_shown(text: str, width: int | None) -> str:
    """Writes a text in one line: as it is for a screen, which has a width, else as Markdown."""
    return as_markdown(text) if width is None else one_line(text)


def as_yaml(value: Any) -> str:
    """Writes the value of an option in one line of YAML, as it is typed on the command line."""
    text: str = yaml.safe_dump(value, allow_unicode=True, default_flow_style=True, width=10**6)
    return text.removesuffix("...\n").strip()


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None, is_markdown: bool = False
) -> str:
    """Formats a Markdown table whose columns are aligned as text, too: the first to the left, the others right.

    On a screen, cells are as they are; elsewhere, what they hold of Markdown is escaped.

    Args:
        header: A name for each column.
        rows: Their cells.
        width: Columns of the screen: the rightmost columns that don't fit are left out, and names are cut to a third of
            it. All is shown if not given.
        is_markdown: Whether cells are Markdown already, and are not to be escaped.
    """
    cells = [[cell if is_markdown else as_shown(cell, width) for cell in row] for row in (header, *rows)]
    if width is not None:
        cells = [[shortened(row[0], max(width // 3, 8)), *row[1:]] for row in cells]
    widths = [max(map(display_width, column)) for column in zip(*cells, strict=True)]
    while width is not None and len(widths) > 2 and sum(widths) + 3 * len(widths) + 1 > width:
        widths.pop()
    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    lines = [f"| {' | '.join(map(_aligned, row, widths, range(len(widths))))} |" for row in cells]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _aligned(cell: str, width: int, column: int) -> str:
    space = " " * (width - display_width(cell))
    return space + cell if column else cell + space


def screen_width() -> int | None:
    """Returns the columns of the terminal that standard output goes to; None if it goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
