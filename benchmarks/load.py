"""A load of HTTP requests, from clients of which each sends its next request once it has the answer to the last."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


class Load(NamedTuple):
    """What a server did under load.

    Attributes:
        rate: Requests a second.
        median: Seconds from a request to its answer.
        p99: The same, of the slowest hundredth.
        failed: Answers of another status than 200.
    """

    rate: float
    median: float
    p99: float
    failed: int


def post(url: str, body: bytes, content_type: str) -> bytes:
    """Returns a request as it is sent."""
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}{HEAD_END.decode()}".encode() + body


def load(url: str, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Sends requests for a while.

    Args:
        url: Of the server.
        requests: As `post` returns them; sent in turn, over and over.
        clients: How many at a time.
        seconds: For how long.
    """
    return uvloop.run(_load(url, requests, clients, seconds))


async def _load(url: str, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    parts = urlsplit(url)
    taken: list[float] = []
    statuses: list[bytes] = []
    source = cycle(requests)
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while (start := time.perf_counter()) < end:
            writer.write(next(source))
            head = await reader.readuntil(HEAD_END)
            await reader.readexactly(_content_length(head))
            taken.append(time.perf_counter() - start)
            statuses.append(head.split(b" ", 2)[1])
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    p99 = statistics.quantiles(taken, n=100)[-1]
    failed = sum(status != b"200" for status in statuses)
    return Load(len(taken) / (time.perf_counter() - began), statistics.median(taken), p99, failed)


def _content_length(head: bytes) -> int:
    [line] = [line for line in head.lower().split(b"\r\n") if line.startswith(LENGTH)]
    return int(line.removeprefix(LENGTH))
