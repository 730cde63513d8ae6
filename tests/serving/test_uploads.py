"""Uploads and requests that would cost much memory, or are not what the page sends."""

import io
import json
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file  # type: ignore[import-untyped]
from PIL import Image

from multilabel_pl import MultiLabelClassifier
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.errors import InputError
from multilabel_pl.serving.page import build_page, serve
from multilabel_pl.serving.uploads import bounded
from tests.serving.server import served

MEGABYTE = 2**20
ALLOWED = 500  # megabytes above idle
AT_ONCE = 6
ENOUGH = 30  # seconds


@pytest.fixture
def client(checkpoint: str, workplace: Path) -> Iterator[Client]:
    digits = read_digits(ARCHIVES, "test").images[:12]
    page = build_page({"model": MultiLabelClassifier.load_from_checkpoint(checkpoint)}, digits)
    client = Client(serve(page, "127.0.0.1", None), verbose=False)
    yield client
    client.close()
    page.close()


def event_of(client: Client, name: str) -> int:
    """Returns the number of the event of that name."""
    [found] = [i for i, event in enumerate(client.config["dependencies"]) if event["targets"][0][1] == name]
    return found


def answer_to_event(client: Client, number: int, data: list[Any], event_data: object) -> dict[str, Any]:
    """Joins the queue as a browser does, and returns the message that the event ends with."""
    address = f"{client.src}gradio_api/queue"
    body = {"fn_index": number, "data": data, "event_data": event_data, "session_hash": "session"}
    assert httpx.post(f"{address}/join", json=body).status_code == 200
    with httpx.stream("GET", f"{address}/data", params={"session_hash": "session"}, timeout=ENOUGH) as stream:
        for line in stream.iter_lines():
            message: dict[str, Any] = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if message.get("msg") == "process_completed":
                return message
    raise AssertionError("the event has no end")


def test_an_example_that_is_not_there_is_a_message(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    select = [i for i, event in enumerate(client.config["dependencies"]) if event["targets"][0][1] == "select"][-1]
    good = answer_to_event(client, select, [], {"index": 0, "value": None})
    assert '<span class="chip">7</span>' in good["output"]["data"][0]
    indices: list[Any] = [12, -1, 10**30, "a", None, [1, 2], 1.5, {}]
    for index in indices:
        message = answer_to_event(client, select, [], {"index": index, "value": None})
        assert message["success"], index
        assert "there is no such example: choose one of the 12" in message["output"]["data"][0]
    no_indices: list[Any] = [None, {}, [], "a", 3]
    for event_data in no_indices:
        message = answer_to_event(client, select, [], event_data)
        assert message["success"], event_data
    assert "Traceback" not in capfd.readouterr().err


def test_the_queue_cannot_be_left_out(client: Client) -> None:
    body = {"fn_index": event_of(client, "change"), "data": [None]}
    assert httpx.post(f"{client.src}gradio_api/run/predict", json=body).status_code == 404


@pytest.mark.slow
def test_a_drawing_is_no_larger_than_a_canvas(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (3000, 3000)).save("large.png")
    Image.new("L", (300, 300)).save("small.png")
    stroke = event_of(client, "input")
    for layers, composite in ((["small.png"], "large.png"), (["small.png"] * 1000, "small.png"), (["large.png"], None)):
        files = {name: handle_file(name) for name in ("large.png", "small.png")}
        drawing = {
            "background": None,
            "layers": [files[name] for name in layers],
            "composite": files[composite] if composite else None,
        }
        with pytest.raises(Exception, match="the drawing has more than"):
            client.predict(drawing, fn_index=stroke)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_what_a_browser_draws_is_bounded_in_advance(client: Client) -> None:
    [canvas] = [part["id"] for part in client.config["components"] if part["type"] == "imageeditor"]
    drawing = io.BytesIO()
    Image.new("RGB", (336, 336), "black").save(drawing, "PNG")

    def send(name: str, content: bytes, index: str = "null", kind: str = "composite") -> int:
        data = {"component_id": canvas, "session_hash": "a", "fn_name": "accept_blobs", "id": name}
        part = {"type": kind, "index": index}
        files = {"file": ("blob", content)}
        address = f"{client.src}gradio_api/component_server"
        return httpx.post(address, data={**data, **part}, files=files, timeout=ENOUGH).status_code

    assert send("large", bytes(9_000_000)) == send("many", drawing.getvalue(), str(10**10), "layer") == 413
    assert [send(f"drawing {i}", drawing.getvalue()) for i in range(40)] == [200] * 40
    for name in ("drawing 39", "drawing 0"):  # the oldest are forgotten
        assert "Draw something" in client.predict({"id": name}, fn_index=event_of(client, "input"))


def test_no_drawing_is_nothing_yet(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    assert "Draw something" in client.predict(None, fn_index=event_of(client, "input"))
    assert "Traceback" not in capfd.readouterr().err


def test_images_of_too_many_pixels_are_refused_by_their_headers(workplace: Path) -> None:
    header = io.BytesIO()
    Image.new("L", (8, 8)).save(header, "PNG")
    for side in (8000, 13_000, 20_000):
        chunk = b"IHDR" + side.to_bytes(4, "big") * 2 + header.getvalue()[24:29]
        checked = chunk + zlib.crc32(chunk).to_bytes(4, "big")
        Path("large.png").write_bytes(header.getvalue()[:12] + checked + header.getvalue()[33:])  # pixels are missing
        with pytest.raises(InputError, match=r"large\.png has more than 50,000,000 pixels"):
            bounded("large.png")
    Image.new("RGB", (5000, 5000)).save("large.webp", quality=1, method=0)
    with pytest.raises(InputError, match=r"large\.webp has more than 16,000,000 pixels"):
        bounded("large.webp")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_large_image_is_shrunk(mode: str, workplace: Path) -> None:
    ramp = np.linspace(0, 255, 4000).astype(np.uint8)
    image = Image.fromarray(np.tile(ramp, (2000, 1)))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    else:
        image = image.convert("RGB").convert(mode)
    image.save("large.png")
    shrunk = bounded("large.png")
    assert isinstance(shrunk, Image.Image)
    assert shrunk.size == (2000, 1000)
    most = 65_535 if mode == "I;16" else 255
    first, last = np.asarray(shrunk.convert("I"))[500, [0, -1]] / most
    assert (first, last) == pytest.approx((0, 1), abs=1 / 255)


def test_a_large_photo_stays_upright(workplace: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (8000, 4000), "red").save("photo.jpg", exif=exif)
    shrunk = bounded("photo.jpg")
    assert isinstance(shrunk, Image.Image)
    assert shrunk.size == (2000, 1000)
    assert shrunk.getexif()[0x0112] == 6  # which whoever reads it turns it by


def test_small_and_damaged_files_are_left_to_the_model(workplace: Path) -> None:
    Image.new("L", (100, 100)).save("small.png")
    Path("letter.png").write_text("no image")
    Image.new("L", (4000, 4000)).save("whole.png")
    Path("half.png").write_bytes(Path("whole.png").read_bytes()[:-1000])
    for name in ("small.png", "letter.png", "half.png", "missing.png"):
        assert bounded(name) == name


def memory(process: subprocess.Popen[str], name: str) -> int:
    """Returns a figure of a process in megabytes: VmRSS, what it holds; VmHWM, the most that it has held."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 // MEGABYTE


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from /proc")
def test_memory_is_bounded_and_given_back(checkpoint: str, workplace: Path) -> None:
    digit = read_digits(ARCHIVES, "test").images[0, 0].numpy()
    Image.fromarray(255 - digit).save("small.png")
    Image.new("L", (13_000, 13_000)).save("refused.png", compress_level=1)
    for mode, name in (("RGBA", "large.png"), ("RGB", "large.jpg")):
        image = Image.fromarray(255 - digit).convert(mode).resize((7000, 7000))
        image.save(name, compress_level=1, progressive=True, subsampling=0)  # of which each format takes its own
    Image.fromarray(255 - digit).convert("RGB").resize((4000, 4000)).save("large.webp", method=0)
    with served("--ckpt_path", checkpoint) as (process, address):
        client = Client(address, verbose=False)
        upload = event_of(client, "change")
        assert '<span class="chip">7</span>' in client.predict(handle_file("small.png"), fn_index=upload)
        idle = memory(process, "VmRSS")
        for name in ("refused.png", "large.png", "large.jpg", "large.webp"):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the most starts anew
            jobs = [client.submit(handle_file(name), fn_index=upload) for _ in range(AT_ONCE)]
            answers = [job.result() for job in jobs]
            time.sleep(1)
            peak, after = memory(process, "VmHWM"), memory(process, "VmRSS")
            print(f"{name}: idle {idle} MB, peak {peak} MB, afterwards {after} MB")
            expected = "more than 50,000,000 pixels" if name == "refused.png" else '<span class="chip">7</span>'
            assert all(expected in answer for answer in answers)
            assert peak < idle + ALLOWED
            assert after < idle + 50
        client.close()
