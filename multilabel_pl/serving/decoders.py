"""Processes that decode images: a damaged file may take one of them down, never the server."""

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import forkserver

from multilabel_pl.serving.bodies import Body, Loaded, load_images
from multilabel_pl.task import Task

MAX_SECONDS = 20  # for the images of a request, after which the process that decodes them is ended
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # as they are several
LOST = f"the images end the process that decodes them, or take it more than {MAX_SECONDS} seconds"

Images = list[Loaded] | Exception  # of a request, or why it has none


def prepare_decoders() -> None:
    """Starts the process that decoders will be copies of, so that they start at once; it imports for some seconds."""
    os.environ.update(ONE_THREAD)  # for these: this process has read it already
    forkserver.set_forkserver_preload([__name__])
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # inherited: it has to outlive what systemd sends to all
    forkserver.ensure_running()
    signal.signal(signal.SIGTERM, previous)


class Decoders:
    """Decodes the bodies of requests in processes of their own.

    A body whose process ends is decoded again, alone, so that others which shared the process or the pool get their
    answers.

    Args:
        task: The task of the model.
        max_pixels: An image that has more is not decoded.
        processes: How many.
    """

    def __init__(self, task: Task, max_pixels: int, processes: int) -> None:
        self.processes = processes
        self._settings = replace(task, labels=()), max_pixels
        self._pool = self._start(processes)
        self._suspects = self._start(1)
        self._one_suspect = asyncio.Lock()

    async def __call__(self, bodies: Sequence[Body]) -> list[Images]:
        """Returns the images of some bodies, in their order."""
        pool = self._pool
        try:
            return await _decode_in(pool, bodies)
        except BrokenExecutor:
            if pool is self._pool:  # else another one that it broke for has seen to it
                self._pool = self._start(self.processes)
            return [await self._decode_alone(body) for body in bodies]

    async def _decode_alone(self, body: Body) -> Images:
        async with self._one_suspect:
            try:
                [images] = await _decode_in(self._suspects, [body])
            except BrokenExecutor:
                self._suspects = self._start(1)
                return [Loaded(None, LOST)]
            return images

    def warm_up(self) -> None:
        """Waits until the processes can be started at once."""
        for pool in (self._pool, self._suspects):
            pool.submit(_decode, []).result()

    def close(self) -> None:
        """Ends the processes, once they have done what they were given."""
        for pool in (self._pool, self._suspects):
            pool.shutdown()

    def _start(self, processes: int) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        return ProcessPoolExecutor(processes, context, _prepare_process, self._settings)


async def _decode_in(pool: ProcessPoolExecutor, bodies: Sequence[Body]) -> list[Images]:
    return await asyncio.get_running_loop().run_in_executor(pool, _decode, bodies)


_settings: tuple[Task, int]  # of this process


def _prepare_process(task: Task, max_pixels: int) -> None:
    global _settings
    _settings = task, max_pixels
    threading.Thread(target=_end_with_server, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):  # which a terminal or systemd sends to all: the server drains first
        signal.signal(number, signal.SIG_IGN)
    logging.disable()  # what parsers say of damaged bodies is in the answers


def _end_with_server() -> None:
    """Ends this process with the server, if that is killed: what it is a copy of would wait for it, and it for that."""
    server = multiprocessing.parent_process()
    assert server is not None
    server.join()
    os._exit(os.EX_OK)


def _decode(bodies: Sequence[Body]) -> list[Images]:
    return [_images_of(body) for body in bodies]


def _images_of(body: Body) -> Images:
    signal.alarm(MAX_SECONDS)  # which ends this process, whatever a decoder is doing
    try:
        return load_images(body, *_settings)
    except Exception as error:  # a bug, unless it is an InputError; in any case of this body alone
        error.add_note(traceback.format_exc())  # which would be lost on the way to the server
        return error
    finally:
        signal.alarm(0)
