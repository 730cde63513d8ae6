import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from multilabel_pl import TableDataModule
from multilabel_pl.cli.main import main
from multilabel_pl.data.cache import ImageCache
from multilabel_pl.data.image_files import FileBatch, ImageFiles, LabelledFiles
from multilabel_pl.errors import InputError
from multilabel_pl.task import Task
from tests.conftest import BRIEF, QUIET, wait_for
from tests.data.tagged_images import write_images, write_tagged

OPTIONS: dict[str, Any] = {"channels": 1, "image_size": 48, "num_workers": 0, "val_size": 0, "test_size": 0}


def opened(table: str, **options: Any) -> LabelledFiles:
    data = TableDataModule(table, **{**OPTIONS, "cache": True, **options})
    data.setup("fit")
    assert data.train_set is not None
    return data.train_set  # type: ignore[return-value]


def pixels(images: LabelledFiles) -> torch.Tensor:
    return images.__getitems__(list(range(len(images))))[0]


def index(folder: Path) -> list[str]:
    return next(folder.glob("images.csv.cache/*/index.jsonl")).read_text(encoding="utf-8").splitlines()


def decoded(files: list[Path]) -> torch.Tensor:
    return torch.stack([torch.frombuffer(bytearray(Image.open(file).tobytes()), dtype=torch.uint8) for file in files])


def blank(folder: Path) -> None:
    """Leaves files of the same size and time of change that are no images any more, so they must not be read again."""
    for file in (folder / "images").iterdir():
        found = file.stat()
        file.write_bytes(b"\0" * found.st_size)
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_tagged(tmp_path, 40)
    first = opened(table)
    files = sorted((tmp_path / "images").iterdir())
    assert torch.equal(pixels(first).flatten(1), decoded(files))
    blank(tmp_path)
    again = opened(table)
    assert not again.is_slow
    assert torch.equal(pixels(again), pixels(first))
    assert len(index(tmp_path)) == 40


def test_what_is_new_or_changed_is_decoded(tmp_path: Path) -> None:
    table = write_tagged(tmp_path, 30)
    opened(table)
    files = sorted((tmp_path / "images").iterdir())
    Image.new("L", (48, 48), 77).save(files[3])
    table = write_tagged(tmp_path, 5, start=30, name="more.csv")
    lines = Path(table).read_text(encoding="utf-8").splitlines()[1:]
    with (tmp_path / "images.csv").open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    images = pixels(opened(str(tmp_path / "images.csv")))
    assert torch.equal(images.flatten(1), decoded(sorted((tmp_path / "images").iterdir())))
    assert len(index(tmp_path)) == 36


def test_mistakes_in_a_table_are_named_with_a_cache_as_well(tmp_path: Path) -> None:
    table = Path(write_tagged(tmp_path, 5))
    lines = table.read_text(encoding="utf-8").splitlines()
    (tmp_path / "images" / "bad.png").write_text("no image")
    table.write_text("\n".join([*lines, lines[1], "images/bad.png,1"]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        opened(str(table))
    assert [message.split(": ")[1] for message in str(caught.value).splitlines()] == [
        f"{tmp_path}/images/000.png is listed already, in {table}, line 2",
        f"{tmp_path}/images/bad.png is not an image, or is damaged",
    ]


def test_each_form_of_images_has_a_cache_of_its_own(tmp_path: Path) -> None:
    table = write_tagged(tmp_path, 10)
    for options in ({}, {"image_size": [16, 24]}, {"channels": 3}, {"background": "red"}):
        assert pixels(opened(table, cache=str(tmp_path / "kept"), **options)).shape[0] == 10
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert names == {"1x48x48_ffffff_v1", "1x16x24_ffffff_v1", "3x48x48_ffffff_v1", "1x48x48_ff0000_v1"}


def test_a_cache_moves_with_its_table(tmp_path: Path) -> None:
    before = pixels(opened(write_tagged(tmp_path / "here", 10)))
    shutil.move(tmp_path / "here", tmp_path / "there")
    blank(tmp_path / "there")
    assert torch.equal(pixels(opened(str(tmp_path / "there" / "images.csv"))), before)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("index.jsonl", b"\xff\xfe not JSON\n"),
        ("index.jsonl", b'["images/000.png", 1]\n'),
        ("index.jsonl", b'{"a": 1}\n'),
        ("index.jsonl", b'["images/000.png", 1, 2, 3.5, 4]\n'),
        ("index.jsonl", b"[1, 2, 3, 4, 5]\n"),
        ("index.jsonl", b"[" * 100_000 + b"\n"),
        ("pixels.bin", b"short"),
        ("pixels.bin", None),
    ],
)
def test_a_damaged_cache_is_begun_again(
    name: str, content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_tagged(tmp_path, 10)
    before = pixels(opened(table)).clone()
    [path] = tmp_path.glob(f"images.csv.cache/*/{name}")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    capsys.readouterr()
    assert torch.equal(pixels(opened(table)), before)
    assert capsys.readouterr().err == f"note: {path.parent} is damaged, and is begun again\n"


def test_a_cut_end_is_cut_off(tmp_path: Path) -> None:
    table = write_tagged(tmp_path, 20)
    before = pixels(opened(table)).clone()
    [path] = tmp_path.glob("images.csv.cache/*/index.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:12]) + lines[12][:10])  # its pixels were written, the line not wholly
    assert torch.equal(pixels(opened(table)), before)
    assert path.read_bytes() == b"".join(lines)
    assert path.with_name("pixels.bin").stat().st_size == before.numel()


FILL = """
import sys
from multilabel_pl.data import cache
from multilabel_pl import TableDataModule
cache.CHUNK = 1
data = TableDataModule("images.csv", channels=3, image_size=200, num_workers=0, val_size=0, test_size=0, cache=True)
print("begins", flush=True)
data.setup("fit")
"""


def filling(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", FILL], cwd=folder, text=True, stdout=subprocess.PIPE)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Large images, of which a chunk takes a while."""
    table = write_tagged(tmp_path, 100)
    for file in (tmp_path / "images").iterdir():
        Image.open(file).resize((900, 900)).save(file)
    return Path(table).parent


@pytest.mark.slow
def test_a_killed_build_goes_on_and_two_do_not_disturb_each_other(photos: Path) -> None:
    killed = filling(photos)
    wait_for(lambda: list(photos.glob("images.csv.cache/*/index.jsonl")), killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = len(index(photos))
    assert 0 < done < 100
    both = [filling(photos) for _ in range(2)]
    assert [each.wait() for each in both] == [0, 0]
    images = opened(str(photos / "images.csv"), channels=3, image_size=200)
    plain = TableDataModule(str(photos / "images.csv"), **{**OPTIONS, "channels": 3, "image_size": 200})
    plain.setup("fit")
    assert plain.train_set is not None
    assert torch.equal(pixels(images), plain.train_set.__getitems__(list(range(100)))[0])


def test_where_nothing_can_be_written_training_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_tagged(tmp_path, 20)
    (tmp_path / "images.csv.cache").write_text("a file")
    images = opened(table)
    assert len(pixels(images)) == 20
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    assert line.endswith("v1 can't keep decoded images: Not a directory; they are decoded without it")


@pytest.mark.parametrize("name", ["index.jsonl", "pixels.bin", "lock"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_nothing_is_written_through_a_link_or_a_pipe(
    name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_tagged(tmp_path, 10)
    target = tmp_path / "precious"
    place = tmp_path / "images.csv.cache" / "1x48x48_ffffff_v1" / name
    place.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(target)
        if kind == "link":
            target.write_text("precious")
    assert len(pixels(opened(table))) == 10
    assert f"{place.parent} can't keep decoded images: " in capsys.readouterr().err
    assert (target.read_text() if target.exists() else None) == ("precious" if kind == "link" else None)


REPLACE = """
import fcntl, shutil, sys, time
from pathlib import Path
whole, cache, process = sys.argv[1:]
with open(f"{cache}/lock", "ab") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print("locked", flush=True)
    for _ in range(1000):
        if any("->" in line and f" {process} " in line for line in Path("/proc/locks").read_text().splitlines()):
            break
        time.sleep(0.01)
    shutil.copytree(whole, cache, dirs_exist_ok=True)
"""


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system does not say who waits for a lock")
def test_what_another_process_has_begun_again_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The other one has the lock when this one finds the damage, and repairs it when this one waits for the lock."""
    table = write_tagged(tmp_path, 10)
    before = pixels(opened(table)).clone()
    [cache] = tmp_path.glob("images.csv.cache/*")
    shutil.copytree(cache, tmp_path / "whole", ignore=shutil.ignore_patterns("lock"))
    (cache / "pixels.bin").write_bytes(b"short")
    blank(tmp_path)
    words = [sys.executable, "-c", REPLACE, str(tmp_path / "whole"), str(cache), str(os.getpid())]
    capsys.readouterr()
    with subprocess.Popen(words, text=True, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        assert torch.equal(pixels(opened(table)), before)
    assert "damaged" not in capsys.readouterr().err


class EmptiedMeanwhile(ImageFiles):
    """Images whose cache another process begins again whenever some are decoded."""

    def __init__(self, paths: list[Path], task: Task, cache: Path) -> None:
        super().__init__(paths, task)
        self.cache = cache

    def __getitems__(self, indices: list[int]) -> FileBatch:
        for path in self.cache.glob("*/*.*"):
            path.unlink()
        return super().__getitems__(indices)


def test_a_cache_that_is_emptied_meanwhile_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("multilabel_pl.data.cache.CHUNK", 1)  # two are written
    paths = [tmp_path / path for path, _ in write_images(tmp_path, 40)]
    task = Task((), (1, 48, 48))
    images = EmptiedMeanwhile(paths, task, tmp_path / "cache")
    assert ImageCache(tmp_path / "cache", task).fill(images, num_workers=0) is None
    assert images.stored is None
    folder = tmp_path / "cache" / "1x48x48_ffffff_v1"
    assert capsys.readouterr().err == f"note: {folder} was emptied by another process; images are decoded without it\n"


FULL = """
import resource, signal
from multilabel_pl.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from multilabel_pl import TableDataModule
data = TableDataModule("images.csv", channels=3, image_size=64, num_workers=0, val_size=0, test_size=0, cache=True)
data.setup("fit")
assert len(data.train_set) == 20
"""


@pytest.mark.slow
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    table = write_tagged(tmp_path, 20)
    done = subprocess.run([sys.executable, "-c", FULL], cwd=tmp_path, text=True, capture_output=True, check=True)
    assert done.stderr.endswith("_v1 can't keep decoded images: File too large; they are decoded without it\n")
    assert len(pixels(opened(table, channels=3, image_size=64))) == 20


@pytest.mark.slow
def test_the_cache_changes_no_result(workplace: Path) -> None:
    write_tagged(workplace, 40)
    words = "--data.image_size 24 --data.num_workers 0 --data.batch_size 8 --data.max_rotation 10 --data.flip true"
    for own in ("--data.cache false", "--data.cache true", "--data.cache true", "--data.cache elsewhere"):
        main(["fit", "images.csv", *QUIET, *BRIEF, *words.split(), *own.split()])
    first, *others = (torch.load(f"runs/version_{i}/last.ckpt", weights_only=True) for i in range(4))
    for other in others:
        assert all(torch.equal(other["state_dict"][name], value) for name, value in first["state_dict"].items())
    assert not any("cache" in checkpoint["datamodule_hyper_parameters"] for checkpoint in others)
    main(["test", *QUIET, "--data.cache", "true"])
    assert len(next(workplace.glob("images.csv.cache/*/index.jsonl")).read_text(encoding="utf-8").splitlines()) == 40


def test_a_checkpoint_says_neither_where_to_write_nor_how_many_processes_to_start(workplace: Path) -> None:
    write_tagged(workplace, 40)
    main(["fit", "images.csv", *QUIET, *BRIEF, "--data.image_size", "16", "--data.num_workers", "0"])
    content = torch.load("runs/version_0/best.ckpt", weights_only=True)
    recorded = content["datamodule_hyper_parameters"]
    assert not recorded.keys() & {"cache", "num_workers"}
    recorded |= {"cache": str(workplace / "elsewhere"), "num_workers": 10**6}
    torch.save(content, "hostile.ckpt")
    main(["test", "hostile.ckpt", *QUIET, "--figures", "false"])
    assert not Path("elsewhere").exists()


def test_images_of_another_format_are_twins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_tagged(tmp_path, 30)
    lines = Path(table).read_text(encoding="utf-8").splitlines()
    originals = [path for path in sorted((tmp_path / "images").iterdir()) if path.stat().st_size > 200][:3]
    for path in originals:
        Image.open(path).save(path.with_suffix(".bmp"))
    marked = [f"{line},train" for line in lines[1:]]
    marked += [
        f"images/{path.stem}.bmp,1,{split}" for path, split in zip(originals, ("val", "test", "test"), strict=True)
    ]
    marked += ["images/plain.bmp,1,val"]
    Image.new("L", (48, 48)).save(tmp_path / "images" / "plain.bmp")
    Path(table).write_text("\n".join([f"{lines[0]},split", *marked]) + "\n", encoding="utf-8")
    for cache in (False, True):
        data = TableDataModule(table, **{**OPTIONS, "cache": cache})
        data.setup("fit")
        names = {path.name for path in (data.train_set.paths if data.train_set is not None else None) or []}
        assert len(names) == 27
        assert not names & {path.name for path in originals}
        assert len(data.splits["train"]) == 27
        warning = "3 train images are left out, as they are those of another split, such as"
        assert (
            f"warning: {warning} {originals[0].name}, which is {originals[0].stem}.bmp (val)\n"
            in capsys.readouterr().err
        )
