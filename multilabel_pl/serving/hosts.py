"""Refuses requests that pages of other sites make in a visitor's browser."""

import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
EVERY_ADDRESS = {"0.0.0.0", "::"}
REMEDY = "use the address that it has printed, or this machine's name or address"
FORBIDDEN = 403


def names_of(server_name: str) -> set[str]:
    """Returns the names and addresses of a server, but those of the machine's network cards.

    Args:
        server_name: The name or address that it listens at.
    """
    host = server_name.strip("[]").lower()
    machine = socket.gethostname().lower()
    own = {machine, f"{machine}.local", socket.getfqdn().lower()} if host in EVERY_ADDRESS else set()
    return {host, *LOOPBACK, *own}


class KnownHosts:
    """Middleware that answers requests with a known Host, and an Origin that is known too if there is one.

    A browser lets the page of another site read a server's answers if the site's name resolves to that server (DNS
    rebinding), and lets it send forms and files anywhere. The headers give both away. Starlette's TrustedHostMiddleware
    looks at the first alone, and Gradio at neither.

    Args:
        app: What answers.
        names: The names and addresses that are known besides the address that a request was sent to.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        answer = self._app if refusal is None else PlainTextResponse(refusal, FORBIDDEN)
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        address, _ = scope.get("server") or ("", 0)
        known = {*self._names, address}
        name, port = _name_and_port(f"//{host}")
        if name not in known:
            return f"the server is not known as {host!r}: {REMEDY}"
        if origin is None:
            return None
        name, origin_port = _name_and_port(origin)
        is_own = name in known and origin_port == port  # a page on another port of this machine is another site
        return None if is_own else f"the server takes no requests from {origin!r}: {REMEDY}"


def _name_and_port(url: str) -> tuple[str | None, int | None]:
    """Returns the host of a URL in lower case, None if there is none, and its port if it is given."""
    try:
        parts = urlsplit(url)
        plain = parts.username is None and not parts.path.strip("/")
        return (parts.hostname or "").removesuffix(".") or None if plain else None, parts.port
    except ValueError:  # such as of a bracket that isn't closed
        return None, None
