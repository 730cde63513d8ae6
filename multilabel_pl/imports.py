"""Imports of large libraries, without the search for garbage that they set off."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Keeps what is imported within, and all objects from before, out of garbage collection until the process ends.

    Lightning and what it imports make hundreds of thousands of objects that stay. Python would search them for
    reference cycles many times while they are made, which takes a fifth of the import, and once more before it exits,
    which takes a second. This is for programs: cycles that are garbage already are kept, too.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
