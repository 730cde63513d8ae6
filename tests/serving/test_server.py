"""Clients that fall silent, or read slowly, with short deadlines."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPResponse
from threading import Thread
from typing import NamedTuple

import pytest
import uvicorn
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline

from multilabel_pl.serving import server

DEADLINE = 0.5  # seconds
LARGE = 3_000_000  # bytes of an answer
SCRIPT = "/static-offline-docs/swagger-ui-bundle.js"  # is sent in parts, and the large answer as a whole


class Service(NamedTuple):
    """A server under test, in this process."""

    server: uvicorn.Server
    address: tuple[str, int]

    def client(self) -> socket.socket:
        """Connects a client that takes little which it does not read."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        client.settimeout(4 * DEADLINE)
        client.connect(self.address)
        return client


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for name in ("HEAD_SECONDS", "REST_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(server, name, DEADLINE)
    app = FastAPIOffline()
    app.get("/large")(lambda: Response(bytes(LARGE)))
    listener = server.listen("127.0.0.1", 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
    config = uvicorn.Config(app, http=server.PromptHeads, log_config=None, timeout_graceful_shutdown=1)
    found = uvicorn.Server(config)
    thread = Thread(target=found.run, args=([listener],))
    thread.start()
    yield Service(found, listener.getsockname())
    found.should_exit = True
    thread.join()


def asked(client: socket.socket, path: str, length: int = 0) -> HTTPResponse:
    """Sends the head of a request, and returns the answer once its own head is there."""
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
    response = HTTPResponse(client)
    response.begin()
    return response


@pytest.mark.parametrize(("late", "length"), [(b"x", 1), (b"\r\n", 0)], ids=["rest of a body", "empty line"])
def test_a_client_that_falls_silent_after_its_answer_is_cut_off(late: bytes, length: int, service: Service) -> None:
    with service.client() as client:
        for _ in range(2):
            assert asked(client, "/openapi.json", length).read()
            client.sendall(late)
        with suppress(ConnectionError):
            assert client.recv(1) == b""


@pytest.mark.parametrize("path", ["/large", SCRIPT])
def test_a_client_that_reads_nothing_is_cut_off(path: str, service: Service) -> None:
    with service.client() as client:
        assert asked(client, path).status == 200
        end = time.monotonic() + 4 * DEADLINE
        while service.server.server_state.connections and time.monotonic() < end:
            time.sleep(0.05)
        assert not service.server.server_state.connections


def test_a_client_that_reads_slowly_gets_all_of_its_answer(service: Service) -> None:
    with service.client() as client:
        response = asked(client, "/large")
        size = 0
        while part := response.read(LARGE // 6):
            size += len(part)
            time.sleep(0.4 * DEADLINE)
        assert size == LARGE
