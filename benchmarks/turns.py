"""Lets contenders work in turns, each in a process of its own, so that all meet the same noise of the machine."""

import multiprocessing
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

Gate = Callable[[], None]  # a contender calls it before each of its turns; it returns when the turn has come
Contender = Callable[[Gate], None]

READY, GO, STOP = "ready", "go", "stop"


def take_turns(contenders: dict[str, Contender], rounds: int) -> dict[str, float]:
    """Runs contenders in turns, one at a time.

    Args:
        contenders: By name. Each works in an empty folder of its own.
        rounds: Turns that are counted; one more comes first, to warm up.

    Returns:
        The median seconds of each one's turn.
    """
    with TemporaryDirectory() as folder:
        pipes = {name: _start(contender, Path(mkdtemp(dir=folder))) for name, contender in contenders.items()}
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(1 + rounds):
            for name, pipe in pipes.items():
                start = time.perf_counter()
                pipe.send(GO)
                _wait(pipe)
                seconds[name].append(time.perf_counter() - start)
        for pipe in pipes.values():
            pipe.send(STOP)
        for process in multiprocessing.active_children():
            process.join()
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def _start(contender: Contender, folder: Path) -> Connection:
    """Starts a contender's process and waits until it has prepared itself."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_work, args=(contender, folder, theirs)).start()  # no daemon: some have workers
    theirs.close()  # so that both sides see it when the other has ended
    _wait(ours)
    return ours


def _wait(pipe: Connection) -> None:
    """Waits until a contender asks for its next turn."""
    answer = pipe.recv()
    if answer != READY:
        for process in multiprocessing.active_children():
            process.terminate()
        raise SystemExit(answer)


def _work(contender: Contender, folder: Path, pipe: Connection) -> None:
    """What a contender's process does."""

    def gate() -> None:
        pipe.send(READY)
        if pipe.recv() == STOP:
            sys.exit()

    multiprocessing.set_start_method(None, force=True)  # of its own processes: the system's usual one, not spawn
    os.chdir(folder)
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        contender(gate)
    except Exception:
        pipe.send(traceback.format_exc())
