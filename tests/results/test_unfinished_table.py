"""A prediction that is interrupted at any moment, and resumed, ends bit for bit as one that was not."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.results.prediction_output import FORMATS
from tests.conftest import QUIET, in_a_process, started, wait_for
from tests.training.test_processes import DDP

DIFFERENT = 200  # files; the others are links to them
BATCH = 8


def write_scans(count: int) -> None:
    """Writes image files to the folder scans, of which some can't be read."""
    Path("scans").mkdir()
    digits = read_digits(ARCHIVES, "test").images
    for number in range(count):
        path = Path(f"scans/{number:06}.png")
        if number < DIFFERENT:
            Image.fromarray(digits[number, 0].numpy()).save(path)
        else:
            os.link(f"scans/{number % DIFFERENT:06}.png", path)
    for number in (2, count - 3):
        Path(f"scans/{number:06}.png").unlink()
        Path(f"scans/{number:06}.png").write_text("no image")


def words(small_run: Path, output: str, *more: str) -> list[str]:
    checkpoint = str(small_run / "best.ckpt")
    return ["predict", checkpoint, "scans", *QUIET, "--data.batch_size", str(BATCH), "--output", output, *more]


def predict(*given: str) -> int:
    """Runs a command and returns its exit status."""
    with pytest.raises(SystemExit) as caught:
        main([*given])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def struck(name: str, batch: int) -> list[str]:
    options = f'{{"name": "{name}", "batch": {batch}}}'
    return ["--trainer.callbacks", f'{{"class_path": "tests.callbacks.StrikePrediction", "init_args": {options}}}']


def lingering(small_run: Path, count: int = 2_000) -> list[str]:
    """Returns a prediction that can be met at work: so many images take four seconds, at least."""
    seconds = 4 * BATCH / count
    callback = f'{{"class_path": "tests.callbacks.Linger", "init_args": {{"seconds": {seconds}}}}}'
    return [*words(small_run, "p.csv"), "--trainer.callbacks", callback]


def open_files(folder: str) -> list[Path]:
    """Returns the files in a folder that this process has open."""
    files = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    return [file for file in files if file.parent == Path(folder).resolve()]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_stopped_prediction_resumes_and_ends_the_same(
    suffix: str, small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scans(100)
    whole, output = f"whole{suffix}", f"p{suffix}"
    own = [] if suffix == ".csv" else ["--data.num_workers", "0"]  # which is faster
    assert predict(*words(small_run, whole, *own)) == 1  # two files can't be read
    Path(output).write_text("earlier")
    stopped = words(small_run, output, *own, *struck("SIGTERM", 5))
    for done in (40, 80):
        capsys.readouterr()
        assert predict(*stopped) == 128 + signal.SIGTERM
        note = f"note: stopped after {done} of 100 images: the same command resumes there"
        assert capsys.readouterr().err.splitlines()[-1] == note
        assert Path(output).read_text() == "earlier"
        assert not open_files(f"{output}.part")
    assert predict(*words(small_run, output, *own)) == 1
    seen = capsys.readouterr()
    assert "resuming after 80 of 100 images: --restart true starts from scratch" in seen.out
    assert f"98 images tagged: written to {output}" in seen.out
    assert seen.err.splitlines() == [
        "warning: scans/000097.png is not an image, or is damaged",
        "warning: unreadable files in all: 2; the table says why",
    ]
    assert Path(output).read_bytes() == Path(whole).read_bytes()
    assert not Path(f"{output}.part").exists()


def test_another_prediction_or_restart_starts_from_scratch(
    small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scans(100)
    stopped = words(small_run, "p.csv", "--data.num_workers", "0", *struck("SIGTERM", 5))
    assert predict(*stopped) == 128 + signal.SIGTERM
    capsys.readouterr()
    assert predict(*stopped, "--restart", "true") == 128 + signal.SIGTERM
    assert "stopped after 40 of 100 images" in capsys.readouterr().err
    Path("scans/000050.png").unlink()
    assert predict(*words(small_run, "p.csv", "--data.max_pixels", "1000")) == 1
    seen = capsys.readouterr()
    differences = "the images, their number"
    assert f"note: p.csv.part is of a prediction that differs in {differences}: starting from scratch" in seen.err
    assert "resuming" not in seen.out
    assert len(Path("p.csv").read_text().splitlines()) == 1 + 99


@pytest.mark.slow
def test_a_damaged_journal_starts_from_scratch(small_run: Path, workplace: Path) -> None:
    write_scans(100)
    assert predict(*words(small_run, "whole.csv")) == 1
    for content in (b"{", b'{"images": "x"}', b'{"images": 40, "length": 1000000, "unreadable": 1}'):
        assert predict(*words(small_run, "p.csv", *struck("SIGTERM", 5))) == 128 + signal.SIGTERM
        Path("p.csv.part/0.json").write_bytes(content)
        assert predict(*words(small_run, "p.csv")) == 1
        assert Path("p.csv").read_bytes() == Path("whole.csv").read_bytes()


def images_done(folder: Path) -> int:
    try:
        found: int = json.loads((folder / "0.json").read_text())["images"]
    except FileNotFoundError:
        return 0
    return found


def wait_for_progress(folder: Path, process: subprocess.Popen[str]) -> None:
    """Waits until a journal has grown."""
    before = images_done(folder)
    wait_for(lambda: images_done(folder) > before, process)


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "count"), [(2, 400), (20, 20_000)])
def test_kills_at_random_moments_change_nothing(kills: int, count: int, small_run: Path, workplace: Path) -> None:
    write_scans(count)
    assert predict(*words(small_run, "whole.csv")) == 1
    moments = random.Random(0)
    Path("p.csv").write_text("earlier")
    folder = Path("p.csv.part")
    resumed = 0
    for _ in range(kills):
        process = started(lingering(small_run, min(count, 2_000)), stdout=subprocess.DEVNULL)
        if moments.random() < 0.7:
            wait_for_progress(folder, process)
        time.sleep(moments.uniform(0, 0.5))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert Path("p.csv").read_text() == "earlier"
        resumed += images_done(folder) > 0
    assert resumed >= kills // 2
    assert predict(*words(small_run, "p.csv")) == 1
    assert Path("p.csv").read_bytes() == Path("whole.csv").read_bytes()


@pytest.mark.slow
def test_one_process_at_a_time_writes_a_table(
    small_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scans(2_000)
    process = started(lingering(small_run), stdout=subprocess.DEVNULL)
    wait_for_progress(Path("p.csv.part"), process)
    assert predict(*words(small_run, "p.csv")) == 2
    owner = f"process {process.pid} on {os.uname().nodename}"
    assert capsys.readouterr().err == f"error: p.csv.part is being written to by {owner}: wait for it\n"
    assert process.wait() == 1
    assert len(Path("p.csv").read_text().splitlines()) == 1 + 2_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_two_processes_resume_and_end_as_one(name: str, small_run: Path, workplace: Path) -> None:
    write_scans(3_000)
    assert predict(*words(small_run, "whole.csv")) == 1
    two = [*words(small_run, "p.csv"), *DDP, "2"]
    assert in_a_process([*two, *struck(name, 150)]).returncode != 0
    assert Path("p.csv.part").is_dir()
    ended = in_a_process(two)
    assert ended.returncode == 1, ended.stderr
    if name == "SIGTERM":
        assert "resuming after" in ended.stdout
    assert Path("p.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert not Path("p.csv.part").exists()
