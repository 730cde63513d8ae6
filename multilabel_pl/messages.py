"""User messages, printed on rank 0 only, on lines of their own: progress bars make way for them."""

import sys

from lightning.pytorch.utilities import rank_zero_only
from tqdm import tqdm


@rank_zero_only
def say(text: str) -> None:
    """Prints a result on standard output, flushed for readers that follow a file."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


@rank_zero_only
def note(text: str) -> None:
    """Prints something unexpected but harmless on standard error."""
    tqdm.write(f"note: {text}", file=sys.stderr)


@rank_zero_only
def warn(text: str) -> None:
    """Prints a problem that stops nothing on standard error."""
    tqdm.write(f"warning: {text}", file=sys.stderr)
