from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multilabel_pl.errors import InputError
from multilabel_pl.training.runs import find_checkpoint, make_run


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_versions_count_up_from_zero_by_number(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    assert make_run(root) == (root / "version_0", 0)
    make(root, "version_9/last.ckpt", "version_10/last.ckpt", "version_x/last.ckpt", "notes.txt")
    assert make_run(root) == (root / "version_11", 11)
    assert make_run(root) == (root / "version_12", 12)


def test_runs_that_start_at_once_get_a_folder_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as processes:
        versions = [run.version for run in processes.map(make_run, [tmp_path / "runs"] * 20)]
    assert sorted(versions) == list(range(20))


def test_the_newest_run_with_a_checkpoint_counts(tmp_path: Path) -> None:
    make(tmp_path, "version_2/best.ckpt", "version_2/last.ckpt", "version_10/best.ckpt", "version_10/last.ckpt")
    make(tmp_path, "version_11/config.yaml")
    assert find_checkpoint(tmp_path, "best") == tmp_path / "version_10" / "best.ckpt"
    assert find_checkpoint(tmp_path, "last") == tmp_path / "version_10" / "last.ckpt"


def test_last_stands_in_for_best(tmp_path: Path) -> None:
    make(tmp_path, "version_0/best.ckpt", "version_1/last.ckpt")
    assert find_checkpoint(tmp_path, "best") == tmp_path / "version_1" / "last.ckpt"


def test_without_runs_there_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run fit first"):
        find_checkpoint(tmp_path / "runs", "best")
