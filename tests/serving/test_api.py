"""The HTTP API, served by the command line to real clients."""

import base64
import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from multilabel_pl import MultiLabelClassifier, Task
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.digests import file_digest
from multilabel_pl.export.metadata import data_digest
from multilabel_pl.model.prediction import Prediction
from multilabel_pl.training.trainer import Trainer
from tests.conftest import QUIET, started, wait_for
from tests.export.test_reading import photos
from tests.images.photograph import photograph

DIGITS = read_digits(ARCHIVES, "test").images
ODD_LABELS = ['a "quoted" \\ name', "two\nlines", "$x_1$", "🦉", "{brace}", "x" * 300]
TOKEN = "0123456789abcdef"


class Server(NamedTuple):
    """A server under test."""

    process: subprocess.Popen[str]
    url: str

    def predict(self, content: bytes, content_type: str = "image/png", **headers: str) -> httpx.Response:
        headers = {"Content-Type": content_type, **headers}
        return httpx.post(f"{self.url}/predict", content=content, headers=headers, timeout=60)


def children(pid: int) -> list[int]:
    """Returns the processes that a process has started."""
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def resident(pid: int) -> int:
    """Returns the pages of memory that a process and its descendants hold."""
    own = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return own + sum(map(resident, children(pid)))


def outcome(response: httpx.Response) -> list[tuple[list[str], str | None]]:
    """Returns the tags and the error of each image: probabilities depend on who shares a batch, by rounding."""
    return [(answer["tags"], answer["error"]) for answer in response.json()["predictions"]]


@contextmanager
def served(*words: str) -> Iterator[Server]:
    """Serves a model at a free port, until the block ends."""
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started(["serve", *words, "--port", "0"], **options) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"at (http://\S+),", process.stdout.readline())
            if found is None:
                pytest.fail(f"nothing is served: {process.communicate()[1]}")
            yield Server(process, found[1])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(run_folder: Path) -> Iterator[Server]:
    with served(str(run_folder / "best.ckpt")) as found:
        yield found


def page(index: int, kind: str = "PNG") -> bytes:
    """Returns a file with a digit, dark on light."""
    file = io.BytesIO()
    Image.fromarray(255 - DIGITS[index, 0].numpy()).save(file, kind)
    return file.getvalue()


def pages(count: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [photograph(DIGITS[index], rng) if index % 2 else page(index) for index in range(count)]


def in_json(images: Sequence[object]) -> bytes:
    return json.dumps({"images": images}).encode()


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def assert_answers(answers: Sequence[dict[str, Any]], expected: Sequence[Prediction]) -> None:
    assert [answer["tags"] for answer in answers] == [each.tags for each in expected]
    for answer, each in zip(answers, expected, strict=True):
        assert answer["probabilities"] == pytest.approx(each.probabilities, abs=1e-5)
        assert answer["error"] is None


def saved(model: MultiLabelClassifier, path: str = "model.ckpt") -> str:
    """Saves an untrained model, in evaluation mode, as a checkpoint."""
    trainer = Trainer(logger=False, enable_progress_bar=False)
    trainer.strategy.connect(model.eval())
    trainer.save_checkpoint(path)
    return path


def test_images_in_any_form_get_what_predict_says(server: Server, checkpoint: str) -> None:
    files = pages(6)
    expected = MultiLabelClassifier.load_from_checkpoint(checkpoint).predict_images([opened(file) for file in files])
    single = [server.predict(file, "application/x-www-form-urlencoded").json() for file in files]  # as curl has it
    assert_answers([answer["predictions"][0] for answer in single], expected)
    form = httpx.post(f"{server.url}/predict", files=[("images", ("a file", file)) for file in files], timeout=60)
    assert_answers(form.json()["predictions"], expected)
    texts = [base64.b64encode(file).decode() for file in files]
    texts[0] = f"data:image/png;base64,{texts[0]}"
    texts[1] = base64.encodebytes(files[1]).decode()  # in lines
    assert_answers(server.predict(in_json(texts), "application/json").json()["predictions"], expected)
    arrays = [np.array(opened(file)).tolist() for file in files]
    assert_answers(server.predict(in_json(arrays), "application/json; charset=utf-8").json()["predictions"], expected)
    thresholds = MultiLabelClassifier.load_from_checkpoint(checkpoint).decision.thresholds.tolist()
    assert list(form.json()["thresholds"].values()) == thresholds


def test_an_image_of_the_models_shape_is_taken_as_it_is(server: Server, checkpoint: str) -> None:
    images = DIGITS[:3]
    expected = MultiLabelClassifier.load_from_checkpoint(checkpoint).predict_images(images)
    answer = server.predict(in_json(images.tolist()), "application/json").json()
    assert_answers(answer["predictions"], expected)


def test_a_bad_image_among_good_ones_has_an_error_of_its_own(server: Server) -> None:
    blank = np.full((30, 30), 255).tolist()
    images = [*([base64.b64encode(page(0)).decode()] * 2), "%", blank, [[1], [2, 3]], [[256]], [[0.5]], 7, None, []]
    response = server.predict(in_json(images), "application/json")
    assert response.status_code == 200
    errors = [answer["error"] for answer in response.json()["predictions"]]
    numbers = "an array must have whole numbers from 0 to 255, and rows of one length"
    kinds = "an image must be base64 or an array of numbers"
    assert errors[:3] == [None, None, "the image is not base64"]
    assert errors[3].startswith("the page is blank") or "no digit" in errors[3] or "blank" in errors[3]
    assert errors[4:] == [numbers] * 3 + [kinds] * 2 + [numbers]
    assert [answer["tags"] for answer in response.json()["predictions"][2:]] == [[]] * 8


@pytest.mark.parametrize(
    ("content", "content_type", "detail"),
    [
        (b"", "image/png", "the request has no image"),
        (b"junk", "image/jpeg", "the file is not an image, or is damaged"),
        (b"DDS " + struct.pack("<4L", 124, 0, 9, 9) + bytes(108), "image/png", "the file is damaged: Un"),
        (page(0)[:200], "image/png", "the file can't be read: image file is truncated"),
        (b"{", "application/json", "the body is not JSON: send {"),
        (b"[" * 100_000, "application/json", "the body is not JSON: send {"),
        (b'["a"]', "application/json", "the body has no images: send {"),
        (in_json([]), "application/json", "the request has no image"),
        (in_json([""] * 300), "application/json", "the request has 300 images, more than 256"),
        (b"x", "multipart/form-data", "the form is damaged"),
        (b"x", "multipart/form-data; boundary=y", "the form is damaged"),
        (
            b'--y\r\nContent-Disposition: form-data; name="n"\r\n\r\n1\r\n--y--\r\n',
            "multipart/form-data; boundary=y",
            "the form's field 'n' is not a file",
        ),
    ],
)
def test_a_body_without_images_is_refused(server: Server, content: bytes, content_type: str, detail: str) -> None:
    response = server.predict(content, content_type)
    assert response.status_code == 400
    assert response.json()["detail"].startswith(detail)


def test_the_model_describes_itself(server: Server, checkpoint: str) -> None:
    about = httpx.get(f"{server.url}/model").json()
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    assert about["labels"] == list(model.task.labels)  # type: ignore[union-attr] # it is from a checkpoint
    assert about["thresholds"] == model.decision.thresholds.tolist()
    assert about["checkpoint_sha256"] == file_digest(Path(checkpoint))
    assert about["data_sha256"] == data_digest(torch.load(checkpoint, weights_only=True))
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}


def test_the_documentation_needs_no_other_server(server: Server) -> None:
    documentation = httpx.get(f"{server.url}/docs").text
    sources = re.findall(r'(?:src|href)="([^"]+)"', documentation)
    assert sources
    assert all(source.startswith("/") for source in sources)
    assert httpx.get(server.url + sources[0]).status_code == 200
    described = httpx.get(f"{server.url}/openapi.json").json()
    assert set(described["paths"]) == {"/predict", "/model", "/metrics", "/health"}
    assert set(described["paths"]["/predict"]["post"]["responses"]) >= {"200", "400", "413", "429"}


def test_requests_images_and_tags_are_counted(server: Server) -> None:
    before = figures(server)
    [answer] = server.predict(page(0)).json()["predictions"]
    server.predict(b"junk")
    after = figures(server)
    assert after['requests_total{status="200"}'] == before.get('requests_total{status="200"}', 0) + 1
    assert after['requests_total{status="400"}'] == before.get('requests_total{status="400"}', 0) + 1
    assert after['images_total{result="failed"}'] == before.get('images_total{result="failed"}', 0) + 1
    for label in answer["probabilities"]:
        name = f'tags_total{{label="{label}"}}'
        assert after[name] == before[name] + (label in answer["tags"])


def figures(server: Server) -> dict[str, float]:
    """Returns the figures that Prometheus would read."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.startswith("multilabel_pl_"))
    return {name.removeprefix("multilabel_pl_"): float(value) for name, _, value in pairs}


def test_pages_of_other_sites_are_refused(server: Server) -> None:
    assert server.predict(page(0), Host="evil.example").status_code == 403
    assert server.predict(page(0), Origin="http://evil.example").status_code == 403


def test_many_clients_at_once_get_their_own_answers(server: Server, checkpoint: str) -> None:
    files = pages(16)
    expected = MultiLabelClassifier.load_from_checkpoint(checkpoint).predict_images([opened(file) for file in files])
    before = figures(server)
    with ThreadPoolExecutor(32) as clients:
        answers = [*clients.map(server.predict, files * 4)]
    assert_answers([answer.json()["predictions"][0] for answer in answers], [*expected] * 4)
    after = figures(server)
    assert after["batch_size_sum"] - before["batch_size_sum"] == 64
    assert after["batch_size_count"] - before["batch_size_count"] < 64


@pytest.mark.slow
def test_images_of_decoders_that_end_are_decoded_again(server: Server) -> None:
    files = pages(16)
    expected = [outcome(server.predict(file)) for file in files]
    done = threading.Event()

    def end_decoders() -> None:
        while not done.wait(1.5):
            for child in children(server.process.pid):
                for decoder in children(child):  # of the process that they are copies of
                    os.kill(decoder, signal.SIGKILL)

    ends = threading.Thread(target=end_decoders)
    ends.start()
    with ThreadPoolExecutor(8) as clients:
        answers = [*map(outcome, clients.map(server.predict, files * 16))]
    done.set()
    ends.join()
    assert [outcome(server.predict(file)) for file in files] == expected
    lost = [answer for answer, right in zip(answers, expected * 16, strict=True) if answer != right]
    assert all("end the process that decodes them" in str(error) for [(_, error)] in lost)  # it was hit twice
    assert len(lost) < len(answers) / 4


@pytest.mark.slow
def test_limits_are_kept(checkpoint: str) -> None:
    words = ["--max_megabytes", "0.01", "--max_requests", "2", "--max_pixels", "10000"]
    with served(checkpoint, *words) as server:
        assert server.predict(bytes(20_000)).json() == {"detail": "a body may have 0.01 MB: send less"}
        chunked = httpx.post(f"{server.url}/predict", content=iter([bytes(6000)] * 3))
        assert chunked.status_code == 413
        file = io.BytesIO()
        Image.new("1", (101, 100)).save(file, "PNG")
        assert "the file has more than 10,000 pixels" in server.predict(file.getvalue()).json()["detail"]
        body = page(0)
        slow = [begun(server, body) for _ in range(2)]
        refused = server.predict(body)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "1"
        assert httpx.get(f"{server.url}/health").status_code == 200
        for connection in slow:
            connection.send(body[-1:])
            assert connection.getresponse().status == 200
            connection.close()
        gone = begun(server, body)
        gone.close()  # before it has sent all
        assert server.predict(body).status_code == 200
    assert "Traceback" not in server.process.communicate()[1]


def begun(server: Server, body: bytes) -> http.client.HTTPConnection:
    """Sends a request but for the last byte of its body."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:-1])
    time.sleep(0.3)  # until it is admitted
    return connection


def test_endless_heads_are_cut_off(server: Server) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as head:
        head.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        with pytest.raises(ConnectionError):
            head.sendall(b"X-Header: more\r\n" * 10_000_000)


def test_a_refusal_reaches_clients_that_send_all_first(server: Server) -> None:
    for _ in range(3):
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
        connection.request("POST", "/predict", bytes(30_000_000))
        assert connection.getresponse().status == 413
        connection.close()


@pytest.mark.slow
def test_slow_clients_are_cut_off(server: Server) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as head:
        head.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        start = time.monotonic()
        assert head.recv(100) == b""
        assert 5 < time.monotonic() - start < 30
    connection = begun(server, page(0))
    assert connection.getresponse().status == 408
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as rest:
        rest.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n")
        assert rest.recv(100).startswith(b"HTTP/1.1 413")
        with pytest.raises(ConnectionError):
            drip(rest, seconds=60)


def drip(connection: socket.socket, seconds: float) -> None:
    """Sends a byte now and then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        connection.sendall(b"x")
        time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    """Returns the processes that a process has started, and what these have."""
    return [each for child in children(pid) for each in (child, *descendants(child))]


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [False, True], ids=["server", "all, as systemd does"])
def test_sigterm_lets_what_was_accepted_be_answered(to_all: bool, checkpoint: str) -> None:
    with served(checkpoint) as server, ThreadPoolExecutor(16) as clients:
        body = in_json([base64.b64encode(file).decode() for file in pages(8) * 4])
        answers = [clients.submit(server.predict, body, "application/json") for _ in range(16)]
        wait_for(lambda: figures(server)["active_requests"] >= 16, server.process)
        for process in (server.process.pid, *(descendants(server.process.pid) if to_all else [])):
            os.kill(process, signal.SIGTERM)
        assert [answer.result().status_code for answer in answers] == [200] * 16
        assert server.process.wait(timeout=60) == 0
    assert server.process.communicate()[1] == ""


@pytest.mark.slow
def test_decoders_end_with_a_server_that_is_killed(checkpoint: str) -> None:
    with served(checkpoint) as server:
        [*_, copied] = children(server.process.pid)
        processes = [copied, *children(copied)]
        assert len(processes) > 2
        server.process.kill()
        for _ in range(100):
            if not any(Path(f"/proc/{process}").exists() for process in processes):
                return
            time.sleep(0.1)
        pytest.fail("the decoders live on")


@pytest.mark.slow
def test_a_token_opens_it_to_other_machines(checkpoint: str, workplace: Path) -> None:
    Path("token.txt").write_text(f"{TOKEN}\n")
    with served(checkpoint, "--host", "0.0.0.0", "--token_file", "token.txt") as server:
        for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": TOKEN}):
            response = server.predict(page(0), **headers)
            assert response.status_code == 401
            assert "Authorization: Bearer" in response.json()["detail"]
        headers = {"Authorization": f"Bearer {TOKEN}", "Host": "models.example"}
        assert server.predict(page(0), **headers).status_code == 200
        assert httpx.get(f"{server.url}/model").status_code == 401
        assert httpx.get(f"{server.url}/health").status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ckpt", "onnx"])
def test_photos_of_any_size_get_what_predict_says(kind: str, workplace: Path) -> None:
    torch.manual_seed(0)
    model = MultiLabelClassifier(network="conv_stack", task=Task(ODD_LABELS, (3, 32, 32)))
    path = saved(model)
    files = photos(12)
    expected = MultiLabelClassifier.load_from_checkpoint(path).predict_images(files)
    if kind == "onnx":
        main(["export", path, "--output", "model.onnx", *QUIET])
    with served(f"model.{kind}") as server:
        form = [("images", (file.name, file.read_bytes())) for file in files]
        answers = httpx.post(f"{server.url}/predict", files=form, timeout=60).json()["predictions"]
        assert [list(answer["probabilities"]) for answer in answers] == [ODD_LABELS] * len(files)
        probabilities = [[*answer["probabilities"].values()] for answer in answers]
        right = [[*each.probabilities.values()] for each in expected]
        np.testing.assert_allclose(probabilities, right, atol=1e-5)
        assert httpx.get(f"{server.url}/model").json()["labels"] == ODD_LABELS
        assert len([name for name in figures(server) if name.startswith("tags_total")]) == len(ODD_LABELS)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "is_imported"), [("onnx", False), ("ckpt", True)])
def test_a_program_is_served_without_lightning(kind: str, is_imported: bool, workplace: Path) -> None:
    Path(f"junk.{kind}").write_text("junk")  # which is looked at once all is imported
    command = [sys.executable, "-X", "importtime", "-m", "multilabel_pl", "serve", f"junk.{kind}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"error: junk.{kind} is damaged" in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "torch" in imported
    assert ("lightning.pytorch" in imported) == is_imported


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("nowhere.ckpt", "no checkpoint at nowhere.ckpt"),
        ("nowhere.onnx", "no program at nowhere.onnx"),
        ("junk.onnx", "junk.onnx is damaged, or not a program in ONNX"),
        ("junk.ckpt", "junk.ckpt is damaged or not a checkpoint"),
        ("", "no run in runs has a checkpoint yet"),
        ("--host 0.0.0.0 CHECKPOINT", "give a --token_file"),
        ("--host nowhere.invalid --token_file token CHECKPOINT", "can't serve at nowhere.invalid, port 8000"),
        ("--port 70000 CHECKPOINT", "can't serve at 127.0.0.1, port 70000"),
        ("--token_file nowhere CHECKPOINT", "the token in nowhere can't be read"),
        ("--token_file junk.onnx CHECKPOINT", "must hold one token of at least 16 characters"),
        ("--max_batch 0 CHECKPOINT", "max_batch must be at least 1"),
        ("--max_megabytes 0 CHECKPOINT", "--max_megabytes must be above 0, got 0"),
        ("--threads 0 CHECKPOINT", "threads must be at least 1, got 0"),
        ("--decoders 0 CHECKPOINT", "decoders must be at least 1, got 0"),
        ("--prot 1", "--prot: did you mean --port?"),
        ("a.ckpt b.ckpt", "serve takes one model, got a.ckpt and b.ckpt"),
    ],
)
def test_a_mistake_is_one_line(
    words: str, expected: str, checkpoint: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("junk.onnx").write_text("junk")
    Path("junk.ckpt").write_text("junk")
    Path("token").write_text(TOKEN)
    with pytest.raises(SystemExit) as caught:
        main(["serve", *words.replace("CHECKPOINT", checkpoint).split()])
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert expected in line


def test_the_help_lists_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = capsys.readouterr().out
    assert "serve [MODEL] [options]" in text
    assert "--max_requests" in text
    assert "--data.help" not in text


@pytest.mark.slow
def test_a_minute_of_64_clients_loses_nothing_and_keeps_memory_flat(server: Server) -> None:
    files = [*pages(30), b"junk", page(0)[:100]]
    expected = [outcome(server.predict(file)) for file in files]
    end = time.monotonic() + 60

    def client(number: int) -> int:
        count = 0
        with httpx.Client(timeout=60) as session:
            while time.monotonic() < end:
                index = (number + count) % len(files)
                assert outcome(session.post(f"{server.url}/predict", content=files[index])) == expected[index]
                count += 1
        return count

    before = figures(server)
    with ThreadPoolExecutor(64) as clients:
        counts = [clients.submit(client, number) for number in range(64)]
        time.sleep(20)
        early = resident(server.process.pid)
        time.sleep(35)
        late = resident(server.process.pid)
        total = sum(count.result() for count in counts)
    after = figures(server)
    requests = [sum(value for name, value in each.items() if name.startswith("requests_")) for each in (before, after)]
    assert requests[1] - requests[0] == total
    assert late < 1.1 * early
