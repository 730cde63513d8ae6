"""Keeps freed memory in the process, or returns it to the system; keeps what is imported."""

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# The parameters of mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
LARGEST_INT = 2**31 - 1
GLIBC_MMAP_MAX = 2**16  # blocks, its default
LARGE_BLOCK = 2**20  # bytes


def keep_freed_memory() -> None:
    """Lets glibc reuse the memory of freed tensors instead of returning it to the system.

    By default it returns a large block at once, and every training step gets its activations and gradients back from
    the system, a zeroed page at a time: some 3,900 page faults, which cost as much as half of the arithmetic. Other C
    libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)


def return_freed_memory() -> None:
    """Lets glibc return freed blocks of a megabyte or more to the system at once, for a process that waits for long.

    It undoes `keep_freed_memory`. By default, glibc would keep blocks of up to 32 MB, as Pillow uses for large images,
    once some were freed.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, GLIBC_MMAP_MAX)
    libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
    libc.mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK)


@contextmanager
def kept_imports() -> Iterator[None]:
    """Never searches what is imported in this block for garbage.

    Python would do so in each of the several full searches of a start, in vain: half a million objects that stay.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
