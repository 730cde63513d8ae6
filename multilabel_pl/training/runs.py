"""Run folders: root/version_0, root/version_1, …, each with its best.ckpt and last.ckpt."""

import re
from itertools import count
from pathlib import Path
from typing import NamedTuple, TextIO

from multilabel_pl.atomic import PARTIAL
from multilabel_pl.errors import InputError
from multilabel_pl.file_names import BEST, LAST, OUTPUTS
from multilabel_pl.locks import lock_folder
from multilabel_pl.messages import abridged

RUNS = "runs"  # folder of the runs, unless another one is named


class NoRunError(InputError):
    """There is no run with a checkpoint."""


class Run(NamedTuple):
    """A run's folder and number."""

    folder: Path
    version: int

    @property
    def last(self) -> Path:
        """Path of its newest checkpoint, which may not be there yet."""
        return self.folder / f"{LAST}.ckpt"


def _versions(root: Path) -> list[int]:
    folders = root.iterdir() if root.is_dir() else []
    return sorted(int(match[1]) for folder in folders if (match := re.fullmatch(r"version_(\d+)", folder.name)))


def _folder(root: Path, version: int) -> Path:
    return root / f"version_{version}"  # as Lightning's loggers name it


def make_run(root: Path) -> Run:
    """Creates the folder of a new run, numbered above all others; two processes at once get one each.

    Raises:
        InputError: If the root is something else than a folder.
    """
    if (root.exists() or root.is_symlink()) and not root.is_dir():
        raise InputError(
            f"{root} is no folder, or a link to none: delete it, or name one by --trainer.default_root_dir"
        )
    for version in count(max(_versions(root), default=-1) + 1):
        try:
            _folder(root, version).mkdir(parents=True)
        except FileExistsError:
            continue
        break
    return Run(_folder(root, version), version)


def lock(run: Run) -> TextIO:
    """Keeps other processes from writing to a run, as `lock_folder` does, and removes what a kill has left there."""
    file = lock_folder(run.folder)
    for left_by_a_kill in run.folder.glob(f"{PARTIAL}*"):
        left_by_a_kill.unlink(missing_ok=True)
    return file


def find_checkpoint(root: Path, name: str) -> Path:
    """Finds `best` or `last` of the newest run that has a checkpoint.

    Raises:
        NoRunError: If no run has a checkpoint.
    """
    for version in reversed(_versions(root)):
        if path := checkpoint_of(_folder(root, version), name):
            return path
    raise NoRunError(f"no run in {root} has a checkpoint yet: run fit first, or name a checkpoint")


def newest_run(root: Path) -> Run | None:
    """Returns the newest run, if there is one."""
    versions = _versions(root)
    return Run(_folder(root, versions[-1]), versions[-1]) if versions else None


def run_of(root: Path, checkpoint: Path) -> Run | None:
    """Returns the run in `root` whose last.ckpt a checkpoint is, if there is one."""
    runs = (Run(_folder(root, version), version) for version in _versions(root))
    return next((run for run in runs if run.last.resolve() == checkpoint.resolve()), None)


def newest_checkpoints(root: Path) -> list[Path]:
    """Returns the checkpoints of all runs, newest first."""
    paths = [path for version in _versions(root) for path in _folder(root, version).glob("*.ckpt")]
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)


def checkpoint_of(run: Path, name: str) -> Path | None:
    """Finds `best` or `last` in the folder of a run, if it is there.

    A run without validation has no best checkpoint; its last one is used instead.
    """
    paths = [run / f"{candidate}.ckpt" for candidate in ([BEST, LAST] if name == BEST else [LAST])]
    return next((path for path in paths if path.is_file()), None)


def find_evaluation(root: Path, name: str, split: str) -> Path:
    """Finds the folder that the evaluation of a run has left.

    Args:
        root: The folder of the runs.
        name: A run's number or folder, a checkpoint, or an evaluation's folder.
        split: `test` or `validate`.

    Raises:
        InputError: If there is no such run, or it has not been evaluated.
    """
    path = _folder(root, int(name)) if name.isdecimal() and not Path(name).exists() else Path(name)
    if not path.exists():
        runs = f"; {root} has {abridged(list(map(str, _versions(root))))}" if _versions(root) else ""
        raise InputError(f"there is no run {name}: give its number, its folder, or a checkpoint{runs}")
    if (path / OUTPUTS).is_file():
        return path
    run = path.parent if path.is_file() else path
    if (run / split / OUTPUTS).is_file():
        return run / split
    checkpoint = path if path.is_file() else checkpoint_of(path, BEST) or path / f"{BEST}.ckpt"
    raise InputError(f"{run / split} has no {OUTPUTS}: run {split} --ckpt_path {checkpoint} first")


def newest_evaluations(root: Path, split: str, count: int) -> list[Path]:
    """Returns the folders of the newest evaluations, as many as asked for, the oldest of them first.

    Raises:
        InputError: If there are fewer.
    """
    folders = [_folder(root, version) / split for version in _versions(root)]
    found = [folder for folder in folders if (folder / OUTPUTS).is_file()]
    if len(found) < count:
        remedy = f"run {split} --ckpt_path {root}/version_N/best.ckpt for {count} of them first, or name them"
        raise InputError(f"compare takes {count} runs with {OUTPUTS} of {split}, and {root} has {len(found)}: {remedy}")
    return found[-count:]
