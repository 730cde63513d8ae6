import errno
import os
from pathlib import Path

import pytest

from multilabel_pl.atomic import atomic_path, check_writable
from multilabel_pl.errors import InputError


def test_a_failure_leaves_the_earlier_file_untouched(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("earlier")

    def write_half() -> None:
        with atomic_path(path) as partial:
            partial.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_success_replaces_it_and_makes_missing_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.csv"
    for text in ("first", "second"):
        with atomic_path(path) as partial:
            partial.write_text(text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_if_nothing_is_written_the_earlier_file_stays(tmp_path: Path) -> None:
    (tmp_path / "figure.png").write_text("earlier")
    with atomic_path(tmp_path / "figure.png"):
        pass
    assert (tmp_path / "figure.png").read_text() == "earlier"


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    def write_on_a_full_disk() -> None:
        with atomic_path(tmp_path / "table.csv"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as caught:
        write_on_a_full_disk()
    assert caught.value.filename == str(tmp_path / "table.csv")


def test_a_place_is_checked_without_leaving_anything(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder" / "table.csv")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"table\.csv can't be written: Not a directory; choose another place"):
        check_writable(tmp_path / "file" / "table.csv")
