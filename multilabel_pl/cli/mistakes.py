"""The end of the program after a mistake of its user."""

import sys
from typing import NoReturn

from multilabel_pl.errors import MISTAKE, InputError, MultipleInputError
from multilabel_pl.messages import one_line
from multilabel_pl.processes import give_way


def fail(mistake: str | InputError | OSError) -> NoReturn:
    """Prints a mistake, or each of several, in one line on standard error, and ends the program."""
    give_way()
    for text in mistake.mistakes if isinstance(mistake, MultipleInputError) else [_text(mistake)]:
        print(f"error: {one_line(text)}", file=sys.stderr)
    sys.exit(MISTAKE)


def _text(mistake: str | InputError | OSError) -> str:
    if isinstance(mistake, OSError) and mistake.filename:
        return f"{mistake.filename}: {mistake.strerror}"
    return str(mistake)
