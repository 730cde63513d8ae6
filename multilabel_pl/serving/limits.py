"""How much a server takes on: the size of bodies, how many at a time, and how long they may be under way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

MEGABYTE = 10**6
BODY_SECONDS = 30  # in which the body of a request must arrive
HELD = 8  # times the largest body: bytes of all bodies that are held at a time

TIMEOUT, TOO_LARGE, BUSY, GONE = 408, 413, 429, 499
RETRY = {"Retry-After": "1"}
CLOSE = {"Connection": "close"}  # as the rest of the body is not read


class Admission:
    """Admits requests within limits.

    Args:
        max_body: Bytes of a body.
        max_requests: Requests that are answered at a time.
    """

    def __init__(self, max_body: int, max_requests: int) -> None:
        self._max_body = max_body
        self._max_requests = max_requests
        self._requests = 0
        self._held = 0  # bytes

    @asynccontextmanager
    async def body_of(self, request: Request) -> AsyncIterator[bytes]:
        """Admits a request, and holds its body until the block ends.

        Raises:
            HTTPException: 429 if too much is under way, 413 if the body is too large, 408 if it takes too long, 499
                (which nobody receives) if the client is gone.
        """
        if self._requests >= self._max_requests:
            raise HTTPException(BUSY, f"{self._requests} requests are being answered: try again in a second", RETRY)
        chunks: list[bytes] = []
        self._requests += 1
        try:
            await self._read_in_time(request, chunks)
            yield b"".join(chunks)
        finally:
            self._requests -= 1
            self._held -= sum(map(len, chunks))

    async def _read_in_time(self, request: Request, chunks: list[bytes]) -> None:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                await self._read(request, chunks)
        except TimeoutError:
            text = f"the body did not arrive within {BODY_SECONDS} seconds"
            raise HTTPException(TIMEOUT, text, CLOSE) from None
        except ClientDisconnect:
            raise HTTPException(GONE) from None

    async def _read(self, request: Request, chunks: list[bytes]) -> None:
        size = 0
        if int(request.headers.get("content-length", 0)) > self._max_body:
            raise self._too_large()
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            self._held += len(chunk)
            if size > self._max_body:
                raise self._too_large()
            if self._held > HELD * self._max_body:
                raise HTTPException(BUSY, "too many bytes are under way: try again in a second", RETRY)

    def _too_large(self) -> HTTPException:
        return HTTPException(TOO_LARGE, f"a body may have {self._max_body / MEGABYTE:g} MB: send less")
