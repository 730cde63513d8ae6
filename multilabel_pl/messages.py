"""User messages, printed on rank 0 only."""

import sys

from lightning.pytorch.utilities import rank_zero_only


@rank_zero_only
def say(text: str) -> None:
    """Prints a result on standard output, flushed for readers that follow a file."""
    print(text, flush=True)


@rank_zero_only
def note(text: str) -> None:
    """Prints something unexpected but harmless on standard error."""
    print(f"note: {text}", file=sys.stderr)


@rank_zero_only
def warn(text: str) -> None:
    """Prints a problem that stops nothing on standard error."""
    print(f"warning: {text}", file=sys.stderr)
