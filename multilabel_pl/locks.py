"""Locks of folders that one process at a time writes to."""

import errno
import fcntl
import os
import socket
from pathlib import Path
from typing import TextIO

from multilabel_pl.errors import InputError
from multilabel_pl.messages import note

LOCK = ".lock"


def lock_folder(folder: Path) -> TextIO:
    """Keeps other processes from writing to a folder while this one is alive.

    The lock is one of POSIX: the system releases it when the process ends, however it does, also on network folders;
    child processes don't share it.

    Returns:
        The lock, an open file; closing it would release it.

    Raises:
        InputError: If another process has it.
    """
    file = (folder / LOCK).open("a+", encoding="utf-8")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            note(f"{folder} can't be locked: take care that no other process writes to it ({error.strerror})")
            return file
        with file:
            file.seek(0)
            owner = file.read() or "another process"
        raise InputError(f"{folder} is being written to by {owner}: wait for it") from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file
