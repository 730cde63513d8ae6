from pathlib import Path

import pytest

from multilabel_pl.atomic import replacing


def test_a_failure_leaves_the_earlier_file_untouched(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("earlier")

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_success_replaces_it_and_makes_missing_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.csv"
    for text in ("first", "second"):
        with replacing(path) as partial:
            partial.write_text(text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]
