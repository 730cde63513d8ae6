"""User messages, printed on rank 0 only, on lines of their own: progress bars make way for them.

Control characters, which could come from the name of a label or a file, are escaped.
"""

import re
import sys
from collections.abc import Sequence
from typing import TextIO

from tqdm import tqdm

BREAKS = re.compile(r" *[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+ *")  # of lines, and tabs
ELLIPSIS = "…"
NAMED = 10  # of a list in a message
SHOWN = 60  # characters of a value in a message
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def escaped(text: str) -> str:
    """Escapes characters that would control a terminal or reverse the direction of text, but for line breaks."""
    return CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def one_line(text: str) -> str:
    """Escapes as `escaped` does, and puts a blank for tabs and line breaks, even those within the name of a label."""
    return escaped(BREAKS.sub(" ", text.strip()))


def shortened(name: str, length: int = SHOWN) -> str:
    """Cuts a name in its middle if it is longer; tabs and line breaks become spaces."""
    name = BREAKS.sub(" ", name)
    if len(name) <= length:
        return name
    end = (length - 1) // 3
    return f"{name[: length - 1 - end].rstrip()}{ELLIPSIS}{name[len(name) - end :].lstrip()}"


def abridged(names: Sequence[str]) -> str:
    """Names some things, the first ten and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(shortened, names[:NAMED])) + more


def say(text: str) -> None:
    """Prints a result on standard output, flushed for readers that follow a file."""
    _write(escaped(text), sys.stdout)
    sys.stdout.flush()


def note(text: str) -> None:
    """Prints something unexpected but harmless on standard error."""
    _write(f"note: {one_line(text)}", sys.stderr)


def warn(text: str) -> None:
    """Prints a problem that stops nothing on standard error."""
    _write(f"warning: {one_line(text)}", sys.stderr)


def _write(line: str, file: TextIO) -> None:
    if _is_first_process():
        tqdm.write(line, file=file)


def _is_first_process() -> bool:
    """Whether this is the first of several processes, which Lightning knows: unless it is imported, there is one."""
    rank_zero = sys.modules.get("lightning.fabric.utilities.rank_zero")
    return rank_zero is None or rank_zero.rank_zero_only.rank == 0
