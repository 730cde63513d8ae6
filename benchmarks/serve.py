"""Measures `serve` beside plain FastAPI: `python -m benchmarks.serve`, four minutes; --peers litserve adds LitServe.

The servers take turns under the same load, from clients on the same machine. One model finds the digit on a
photographed page, another one tags photos of 640 x 480 pixels.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from benchmarks.commands import CONFIGS, fit
from benchmarks.load import Load, load, post
from benchmarks.photos import take_photos
from benchmarks.printing import table
from benchmarks.serve_peers import PEERS
from multilabel_pl import MNISTDataModule
from tests.images.photograph import photograph

ROOT = Path("runs/serve")
START_SECONDS = 120
WARM_UP_SECONDS = 2
IMAGES = 64  # different ones
OWN = "`serve`"
SIZE = 64  # of the images of the model of photos


def photographed_digits() -> tuple[Path, list[bytes]]:
    """Returns a checkpoint of MNIST's model, and photographed digits."""
    checkpoint = fit(ROOT / "digits", "--config", str(CONFIGS / "fast.yaml"), "--trainer.max_epochs", "2")
    data = MNISTDataModule()
    data.setup("test")
    assert data.test_set is not None
    rng = np.random.default_rng(0)
    return checkpoint, [photograph(digit, rng) for digit in data.test_set.images[:IMAGES]]


def photos() -> tuple[Path, list[bytes]]:
    """Returns a checkpoint of a model of photos, and photos."""
    folder = ROOT / "photos"
    if not (folder / "photos.csv").exists():
        paths = take_photos(folder / "files", count=IMAGES)
        lines = [f"files/{path.name},{'odd' if index % 2 else ''}" for index, path in enumerate(paths)]
        (folder / "photos.csv").write_text("\n".join(["path,tags", *lines]))
    options = ["--data.image_size", str(SIZE), "--data.val_size", "0.25", "--trainer.max_epochs", "1"]
    checkpoint = fit(folder / "run", str(folder / "photos.csv"), *options)
    return checkpoint, [path.read_bytes() for path in sorted((folder / "files").iterdir())]


MODELS = {"photographed digits": photographed_digits, "photos": photos}


@contextmanager
def serving(command: Sequence[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server, once it answers."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            _wait_for(port, process)
            yield process
        finally:
            process.terminate()
            process.wait()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # LitServe leaves processes behind, which slow the next one


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(10 * START_SECONDS):
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} serves nothing")


def command_of(name: str, checkpoint: Path, port: int) -> list[str]:
    """Returns the command that serves a checkpoint."""
    words = ["multilabel_pl", "serve", str(checkpoint), "--port", str(port)]
    return [
        sys.executable,
        "-m",
        *(words if name == OWN else ["benchmarks.serve_peers", name, str(checkpoint), str(port)]),
    ]


def in_form(image: bytes) -> tuple[bytes, str]:
    """Returns a form with an image, and its content type."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image"\r\n\r\n'.encode()
    body = b"".join([head, image, f"\r\n--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"


def measure(name: str, checkpoint: Path, images: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Puts a server under load, and says where its time goes if it does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    requests = [post(f"{url}/predict", *in_form(image)) for image in images]
    with serving(command_of(name, checkpoint, port), port):
        load(url, requests, clients, WARM_UP_SECONDS)
        found = load(url, requests, clients, seconds)
        if name == OWN:
            print(name, _stages(url), sep=": ")
    print(f"{name}: {found.rate:.0f} requests a second, {found.failed} failed", flush=True)
    return found


def _stages(url: str) -> str:
    """Says how many seconds each stage has worked, and the size of its batches."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        lines = [line.rpartition(" ") for line in answer.read().decode().splitlines() if not line.startswith("#")]
    figures = {name.removeprefix("multilabel_pl_"): float(value) for name, _, value in lines}
    images, batches = figures["batch_size_sum"], figures["batch_size_count"]
    decode, model = (figures[f'busy_seconds_total{{stage="{stage}"}}'] for stage in ("decode", "model"))
    server = figures["process_cpu_seconds_total"]
    return (
        f"{images:.0f} images, {images / batches:.1f} in a batch; decoders {1000 * decode / images:.2f} ms an image, "
        f"model {1000 * model / images:.2f} ms; CPU time of the serving process {server:.1f} s with its start"
    )


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=["fastapi"])
    return parser


def main() -> None:
    """Measures and prints it all."""
    options = parser().parse_args()
    rows = []
    for what, model in MODELS.items():
        checkpoint, images = model()
        found: dict[str, list[Load]] = {name: [] for name in (OWN, *options.peers)}
        for _ in range(options.rounds):
            for name, loads in found.items():
                loads.append(measure(name, checkpoint, images, options.clients, options.seconds))
        for name, loads in found.items():
            ratios = [own.rate / other.rate for own, other in zip(found[OWN], loads, strict=True)]
            rate, median, p99 = (statistics.median(getattr(each, part) for each in loads) for part in Load._fields[:3])
            times = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            rows.append([what, name, f"{rate:.0f}", f"{1000 * median:.0f}", f"{1000 * p99:.0f}", times])
    header = ["images", "server", "requests a second", "p50, ms", "p99, ms", "`serve` is faster by"]
    print("\n" + table(header, rows))


if __name__ == "__main__":
    main()
