"""Requests that pages of other sites make in a visitor's browser."""

import http.client
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from multilabel_pl import MultiLabelClassifier
from multilabel_pl.serving.hosts import names_of
from multilabel_pl.serving.page import build_page, serve

EVIL = "evil.example"
REQUESTS = [
    ("GET", "/"),
    ("GET", "/config"),
    ("GET", "/gradio_api/info"),
    ("GET", "/gradio_api/heartbeat/abc"),
    ("GET", "/gradio_api/queue/data?session_hash=abc"),
    ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/upload"),
    ("POST", "/gradio_api/component_server"),
    ("POST", "/gradio_api/run/predict"),
    ("GET", "/no/such/page"),
]
FILE = {"files": ("image.png", b"no image")}


def served_at(name: str, checkpoint: str) -> Iterator[str]:
    """Serves a page in this process, and yields its address."""
    page = build_page({"model": MultiLabelClassifier.load_from_checkpoint(checkpoint)}, None)
    yield serve(page, name, None)
    page.close()


@pytest.fixture(scope="module")
def address(run_folder: Path) -> Iterator[str]:
    yield from served_at("127.0.0.1", str(run_folder / "best.ckpt"))


@pytest.fixture
def open_address(checkpoint: str) -> Iterator[str]:
    """Of a page that is opened to the network."""
    yield from served_at("0.0.0.0", checkpoint)


def answer_to(address: str, method: str = "GET", path: str = "/", **headers: str) -> tuple[int, str]:
    """Returns the status and the text of an answer; of streams, what is there at once."""
    with httpx.stream(method, address.rstrip("/") + path, headers=headers, timeout=10) as response:
        return response.status_code, response.read().decode() if response.status_code != 200 else ""


def test_other_hosts_and_origins_are_refused(address: str) -> None:
    for method, path in REQUESTS:
        status, text = answer_to(address, method, path, Host=EVIL)
        assert (status, text) == (403, text), (method, path)
        assert text.startswith(f"the server is not known as {EVIL!r}: use ")
        status, text = answer_to(address, method, path, Origin=f"http://{EVIL}")
        assert (status, text) == (403, text), (method, path)
        assert text.startswith(f"the server takes no requests from 'http://{EVIL}': use ")


def test_names_that_only_look_like_the_pages_are_refused(address: str) -> None:
    port = urlsplit(address).port
    for host in (
        f"{EVIL}:{port}",
        f"127.0.0.1.{EVIL}",
        f"localhost@{EVIL}",
        "192.0.2.1",
        "",
        "[",
        "[::1",
        "a b",
        "0.0.0.0",
    ):
        assert answer_to(address, Host=host)[0] in (400, 403), host
    origins = (
        f"http://{EVIL}:{port}",
        "null",
        "file://",
        "http://localhost:1",
        f"http://localhost:{port}.{EVIL}",
        "http://[",
    )
    for origin in origins:
        assert answer_to(address, Origin=origin)[0] == 403, origin


def test_the_pages_own_names_are_answered(address: str) -> None:
    port = urlsplit(address).port
    for host in (
        f"127.0.0.1:{port}",
        f"localhost:{port}",
        f"[::1]:{port}",
        f"LOCALHOST:{port}",
        "localhost",
        "localhost.",
    ):
        assert answer_to(address, Host=host)[0] == 200, host
    for origin in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
        assert answer_to(address, Origin=origin)[0] == 200, origin
    # As through a tunnel, `ssh -L 9000:localhost:7860`.
    assert answer_to(address, Host="localhost:9000", Origin="http://localhost:9000")[0] == 200


def test_a_host_that_is_not_given_is_refused(address: str) -> None:
    parts = urlsplit(address)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(1000).split()[1] == b"403"


def test_an_upgrade_to_a_websocket_is_refused(address: str) -> None:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", **key}
    connection.request(
        "GET", "/gradio_api/queue/join", headers={"Host": parts.netloc, "Origin": f"http://{EVIL}", **upgrade}
    )
    assert connection.getresponse().status == 403
    connection.close()


def test_other_sites_may_not_read_answers(address: str) -> None:
    headers = {"Origin": f"http://{EVIL}", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in httpx.options(address, headers=headers).headers


def test_uploads_of_other_sites_are_refused(address: str) -> None:
    upload = f"{address}gradio_api/upload"
    assert httpx.post(upload, files=FILE).status_code == 200
    for forged in ({"Host": EVIL}, {"Origin": f"http://{EVIL}"}):
        assert httpx.post(upload, files=FILE, headers=forged).status_code == 403


def test_an_upload_that_is_too_large_is_refused(address: str) -> None:
    file = {"files": ("image.png", io.BytesIO(bytes(50 * 2**20 + 1)))}
    response = httpx.post(f"{address}gradio_api/upload", files=file, timeout=60)
    assert response.status_code == 413
    assert "maximum allowed size" in response.text


def test_an_open_page_is_served_under_the_machines_names(open_address: str) -> None:
    port = urlsplit(open_address).port
    for host in ("localhost", "127.0.0.1", "0.0.0.0", socket.gethostname()):
        assert answer_to(open_address, Host=f"{host}:{port}", Origin=f"http://{host}:{port}")[0] == 200, host
    assert answer_to(f"http://127.0.0.2:{port}", Host=f"127.0.0.2:{port}")[0] == 200  # an address of the machine's
    assert answer_to(open_address, Host=f"127.0.0.2:{port}")[0] == 403
    assert answer_to(open_address, Host=EVIL)[0] == 403


def test_a_given_name_is_known() -> None:
    assert "lab.example" in names_of("Lab.Example")
    assert "::1" in names_of("[::1]")
    assert socket.gethostname().lower() not in names_of("127.0.0.1")


def test_monitoring_is_off(address: str) -> None:
    for path in ("/monitoring", "/monitoring/summary", "/monitoring/key"):
        assert answer_to(address, path=path)[0] == 403, path
