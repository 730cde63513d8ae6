"""The command `compare`."""

from pathlib import Path
from typing import Literal

from multilabel_pl.atomic import check_writable
from multilabel_pl.digests import file_digest
from multilabel_pl.errors import InputError
from multilabel_pl.messages import note, say
from multilabel_pl.training.runs import RUNS, find_evaluation, newest_evaluations

FORMATS = (".md", ".html")


def compare(
    run: list[str] | None = None,
    split: Literal["test", "validate"] = "test",
    output: str | list[str] | None = None,
    runs: str = RUNS,
) -> None:
    """Compare runs on the images that they were tested on.

    Args:
        run: Runs, two or more, which the others are compared with the first of; the two newest ones if not given.
        split: Whether to compare what `test` has left, or `validate`.
        output: A file to write, too: comparison.html or comparison.md, or a list of both.
        runs: Folder of the runs.
    """
    files = [Path(name) for name in ([output] if isinstance(output, str) else output or [])]
    for file in files:
        if file.suffix not in FORMATS:
            raise InputError(f"--output takes files that end in {' or '.join(FORMATS)}, got {file}")
        check_writable(file)
    if run and len(run) == 1:
        raise InputError(f"compare takes two runs or more, got only {run[0]}: name another one")
    root = Path(runs)
    folders = [find_evaluation(root, name, split) for name in run] if run else newest_evaluations(root, split, 2)
    from multilabel_pl.results.compared_runs import read_runs  # these take a second to import
    from multilabel_pl.results.comparison_report import report_comparison
    from multilabel_pl.results.text import screen_width

    compared = read_runs(folders)
    for name, folder, found in zip(run or [], folders, compared, strict=False):
        if name.endswith(".ckpt") and Path(name).name != found.outputs.checkpoint:
            remedy = f"run {split} --ckpt_path {name} first"
            raise InputError(f"{folder} is of {found.outputs.checkpoint}, not of {name}: {remedy}")
    for folder, found in zip(folders, compared, strict=True):
        checkpoint = folder.resolve().parent / found.outputs.checkpoint
        if checkpoint.is_file() and file_digest(checkpoint) != found.outputs.digest:
            remedy = f"run {split} --ckpt_path {folder.parent / checkpoint.name} again"
            note(f"{folder} is of an earlier {checkpoint.name}, of {found.outputs.date[:10]}: {remedy}")
    report = report_comparison(compared)
    say(report.text(screen_width()))
    for file in files:
        report.write(file)
        say(f"written to {file}")
