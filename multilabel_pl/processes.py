"""The end of a program that runs in several processes and has lost one: none waits for ever."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from subprocess import Popen

PR_SET_PDEATHSIG = 1  # of prctl(2)
PERIOD = 0.5  # seconds between two looks
GRACE = 5  # seconds in which a process that finds an error itself may report it
LOST = 1  # exit status
BY_SIGNAL = (130, 143)  # exit statuses of processes that were asked to stop
OF_A_CONNECTION = ("gloo/transport", "NCCL error", "remote process exited")  # torch's words


def end_with_parent() -> None:
    """Lets Linux end this process with the one that launched it, as one of several.

    By itself it would wait for that one: while starting, for half an hour, in which none of its threads can run.
    """
    if sys.platform == "linux" and os.environ.get("LOCAL_RANK", "0") != "0":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def watch_children(launched: Sequence[Popen[bytes]], prepare: Callable[[], None]) -> None:
    """Ends this process and those that it has launched soon after one of them has failed.

    Args:
        launched: The processes, to which more may be added.
        prepare: What is done before each look.
    """

    def lost() -> int | None:
        prepare()
        failed = (rank for rank, process in enumerate(launched, start=1) if process.poll() not in (None, 0, *BY_SIGNAL))
        return next(failed, None)

    threading.Thread(target=_watch, args=(lost, launched), daemon=True).start()


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error is torch's, of a process that can't be reached any more."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OF_A_CONNECTION)


def _watch(lost: Callable[[], int | None], launched: Sequence[Popen[bytes]]) -> None:
    while (rank := lost()) is None:
        time.sleep(PERIOD)
    time.sleep(GRACE)
    for process in launched:
        process.send_signal(signal.SIGKILL)  # it may hang in a collective operation
    print(f"error: process {rank + 1} of this run is gone", file=sys.stderr, flush=True)
    os._exit(LOST)  # whatever the main thread is waiting for
