"""What a user is told: once, however many processes there are."""

import sys

from lightning.pytorch.utilities import rank_zero_only


@rank_zero_only
def say(text: str) -> None:
    """Prints what was asked for, on standard output; at once, even into a file that is followed."""
    print(text, flush=True)


@rank_zero_only
def note(text: str) -> None:
    """Prints what may not be expected, on standard error."""
    print(f"note: {text}", file=sys.stderr)


@rank_zero_only
def warn(text: str) -> None:
    """Prints what is wrong but stops nothing, on standard error."""
    print(f"warning: {text}", file=sys.stderr)
