"""Several processes: how many make sense, and their end once one is lost, so that none waits for ever."""

import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from subprocess import Popen

PR_SET_PDEATHSIG = 1  # of prctl(2)
PERIOD = 0.5  # seconds between two looks
GRACE = 5  # seconds in which a process that finds an error itself may report it
LOST = 1  # exit status
HERE = "127.0.0.1"
MEETING = "MULTILABEL_PL_MEETING"  # environment variable: the port at which launched processes say that they are ready
BY_SIGNAL = (130, 143)  # exit statuses of processes that were asked to stop
OF_A_CONNECTION = ("gloo/transport", "NCCL error", "remote process exited")  # torch's words

Launched = Callable[[], Sequence[Popen[bytes]]]


def usable_cores() -> int:
    """Returns how many cores this process may use, which a scheduler may have made fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with_parent() -> None:
    """Lets Linux end this process with the one that launched it, as one of several.

    By itself it would wait for that one: while starting, for half an hour, in which none of its threads can run.
    """
    if sys.platform == "linux" and os.environ.get("LOCAL_RANK", "0") != "0":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def watch_children(launched: Launched, prepare: Callable[[], None]) -> None:
    """Ends this process and those that it has launched soon after one of them has failed.

    Args:
        launched: Returns the processes, by rank from 1.
        prepare: What is done before each look.
    """

    def lost() -> int | None:
        prepare()
        statuses = enumerate((process.poll() for process in launched()), start=1)
        return next((rank for rank, status in statuses if status not in (None, 0, *BY_SIGNAL)), None)

    threading.Thread(target=_watch, args=(lost, launched), daemon=True).start()


def meeting(launched: Launched) -> Callable[[], None]:
    """Prepares that this process waits until all that it launches are as far as itself.

    torch waits for them as well, but holds Python's lock, so that `watch_children` can't look.

    Args:
        launched: Returns the processes.

    Returns:
        The wait.
    """
    server = socket.create_server((HERE, 0))
    os.environ[MEETING] = str(server.getsockname()[1])

    def wait() -> None:
        with server:
            for _ in launched():
                server.accept()[0].close()
        del os.environ[MEETING]  # so that this process is not taken for a launched one

    return wait


def is_awaited() -> bool:
    """Whether this process was launched by one that waits for it."""
    return MEETING in os.environ


def join_meeting() -> None:
    """Tells the process that has launched this one that it is ready.

    Exits if that one is gone, as it may be since before `end_with_parent`.
    """
    try:
        socket.create_connection((HERE, int(os.environ.pop(MEETING)))).close()
    except ConnectionRefusedError:
        print("error: process 1 of this run is gone", file=sys.stderr)
        sys.exit(LOST)


def give_way() -> None:
    """Lets the first process report a mistake that all of them find: whatever launched the others ends them meanwhile.

    One that this process alone has found is reported after that.
    """
    if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0":
        time.sleep(GRACE)


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error is torch's, of a process that can't be reached any more."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OF_A_CONNECTION)


def _watch(lost: Callable[[], int | None], launched: Launched) -> None:
    while (rank := lost()) is None:
        time.sleep(PERIOD)
    time.sleep(GRACE)
    for process in launched():
        process.send_signal(signal.SIGKILL)  # it may hang in a collective operation
    print(f"error: process {rank + 1} of this run is gone", file=sys.stderr, flush=True)
    os._exit(LOST)  # whatever the main thread is waiting for
