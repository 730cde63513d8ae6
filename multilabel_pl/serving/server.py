"""Serves the HTTP API until it is asked to end; what was accepted by then is answered."""

import os
import socket
import sys
from asyncio import AbstractEventLoop, BaseTransport, TimerHandle
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM, signal
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from multilabel_pl.errors import InputError
from multilabel_pl.serving.hosts import LOOPBACK, KnownHosts, names_of

HEAD_SECONDS = 10  # in which the head of a request must arrive
MAX_HEAD = 2**16  # bytes
REST_SECONDS = 30  # in which the rest of a body must arrive whose request has been answered
READ_SECONDS = 30  # in which a client must read a part of its answer
DRAIN_SECONDS = 30
MAX_CONNECTIONS = 1000
BACKLOG = 2048
MIN_TOKEN = 16  # characters


class Timer:
    """Calls a function after some seconds, unless it is stopped before."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not been stopped."""
        return self._handle is not None

    def start(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        """Begins to wait, from the beginning if it does already."""
        self.stop()
        self._handle = self._loop.call_later(seconds, function, *args)

    def stop(self) -> None:
        """Ends the wait."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class PromptHeads(HttpToolsProtocol):
    """Uvicorn's protocol, with deadlines for heads of requests, the rest of refused bodies, and silent readers.

    The rest of such a body is read and dropped: many clients, proxies among them, send all before they look at the
    answer, and would get a reset connection instead of it.
    """

    _received = 0  # bytes of a head, and of what came along with it

    def connection_made(self, transport: BaseTransport) -> None:
        """Begins to wait for a head."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._head, self._rest, self._reader = (Timer(self.loop) for _ in range(3))
        self.transport.set_write_buffer_limits(high=0)  # writing is paused until all that was written has been sent
        self._await_head()

    def on_message_begin(self) -> None:
        """Begins to wait for the rest of another head on the same connection."""
        super().on_message_begin()
        if not self._head.is_running:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Ends the wait."""
        self._head.stop()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Ends the wait for the rest of a body."""
        self._rest.stop()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begins to wait for the rest of the body, if it is not complete."""
        super().on_response_complete()
        if self.cycle.more_body and self.cycle.response_complete and not self._rest.is_running:
            self._rest.start(REST_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Takes a part of a request."""
        if self._head.is_running:
            self._received += len(data)
        super().data_received(data)
        if self._head.is_running and self._received > MAX_HEAD:  # and the head is not complete
            self.transport.abort()
        self._await_next()

    def pause_writing(self) -> None:
        """Begins to wait until the client reads."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Ends that wait."""
        self._reader.stop()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends all waits."""
        for timer in (self._head, self._rest, self._reader):
            timer.stop()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._received = 0
        self._head.start(HEAD_SECONDS, self.transport.abort)

    def _await_next(self) -> None:
        """Waits for a head if what arrived is none, but ended uvicorn's wait: the end of a body, or an empty line."""
        is_answered = self.cycle is not None and self.cycle.response_complete and not self.transport.is_closing()
        if is_answered and not (self._head.is_running or self._rest.is_running or self.timeout_keep_alive_task):
            self._await_head()

    def _await_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._reader.start(READ_SECONDS, self._check_reader, unread)

    def _check_reader(self, before: int) -> None:
        """Waits on if the client has read since, however little: a large answer may take long."""
        if self.transport.get_write_buffer_size() < before:
            self._await_reader()
        else:
            self.transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """Begins to listen at an address.

    Raises:
        InputError: If there is no such address, or its port is taken.
    """
    name = host.strip("[]")
    try:
        return socket.create_server(
            (name, port), family=socket.AF_INET6 if ":" in name else socket.AF_INET, backlog=BACKLOG
        )
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"can't serve at {host}, port {port}: {reason}: choose another --host or --port") from None


def read_token(path: str | None, host: str) -> str | None:
    """Reads the token that requests must bear.

    Raises:
        InputError: If the file can't be read or its token is too short, or if there is none for a server that other
            machines can reach.
    """
    if path is None:
        if host.strip("[]").lower() not in LOOPBACK:
            raise InputError(
                f"at {host}, other machines can reach the server: give a --token_file, or leave out --host"
            )
        return None
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise InputError(f"the token in {path} can't be read: {reason}") from None
    if len(token) < MIN_TOKEN or any(sign.isspace() for sign in token):
        raise InputError(
            f"{path} must hold one token of at least {MIN_TOKEN} characters: openssl rand -hex 32 writes one"
        )
    return token


def address_of(listener: socket.socket) -> str:
    """Returns the URL of what listens."""
    name, port = listener.getsockname()[:2]
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def run(app: FastAPI, listener: socket.socket, host: str, is_open: bool) -> None:
    """Serves an application until SIGINT or SIGTERM; after that, the process exits with 0.

    Args:
        app: The application.
        listener: Where it listens.
        host: The name or address given for it.
        is_open: Whether requests may come under any name, as through a proxy; else a page of another site could send
            them in a visitor's browser.
    """
    config = uvicorn.Config(
        app if is_open else KnownHosts(app, names_of(host)),
        http=PromptHeads,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    signal(SIGTERM, lambda *_: sys.exit(os.EX_OK))  # uvicorn raises it again once all is answered
    uvicorn.Server(config).run([listener])
