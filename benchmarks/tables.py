"""Regenerates the manual's measured tables in place: `python -m benchmarks.tables [benchmarks.NAME …]`, some hours.

Each of these tables stands below a caption that names a command. Each command runs once, and the tables that it prints
replace those below its captions that have the same header; the captions get the date and the versions. Exit status: 1
if a command failed, 2 if one didn't print a table that the manual has. The others are replaced all the same.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
RUNS = Path("runs")  # where benchmarks keep what they have trained, each in a folder of its name
CAPTION = re.compile(r"Measured on \d{4}-\d\d-\d\d with `python -m (benchmarks\.[^`]+)` \([^()]+\):")
TABLE = re.compile(r"^\|.*\|\n\|[-:| ]+\|(?:\n\|.*\|)*", re.MULTILINE)
WIDTH = 120


class MissingTableError(LookupError):
    """A command didn't print a table that the manual has."""


def pages() -> list[Path]:
    """Returns the paths of the README and the manual."""
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


def captions(page: str) -> Iterator[tuple[str, str]]:
    """Yields the command of each caption of a page, without `python -m`, and the table below it."""
    for paragraph, below in pairwise(page.split("\n\n")):
        if command := _command(paragraph):
            yield command, below.rstrip("\n")


def refreshed(page: str, command: str, output: str) -> str:
    """Replaces the tables of a command by those that it printed, and updates their captions.

    Args:
        page: The Markdown of the page.
        command: As `captions` yields it.
        output: What it printed; of tables with the same header, the last one counts.

    Raises:
        MissingTableError: If a table's header is not among those printed.
    """
    printed = {_header(table): table for table in TABLE.findall(output)}
    paragraphs = page.split("\n\n")
    for index, (paragraph, below) in enumerate(pairwise(list(paragraphs))):
        if _command(paragraph) != command:
            continue
        header = _header(below)
        if header not in printed:
            raise MissingTableError(f"python -m {command} printed no table | {' | '.join(header)} |: left as it is")
        paragraphs[index : index + 2] = [_caption(command), printed[header] + "\n" * below.endswith("\n")]
    return "\n\n".join(paragraphs)


def _command(paragraph: str) -> str | None:
    match = CAPTION.fullmatch(" ".join(paragraph.split()))
    return match[1] if match else None


def _header(table: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in table.splitlines()[0].strip("|").split("|"))


def _caption(command: str) -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning"))
    text = f"Measured on {date.today():%Y-%m-%d} with `python -m {command}` ({versions}, {device}):"
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)


def run(command: str) -> str:
    """Runs a command, shows its output as it comes, and returns it.

    Raises:
        CalledProcessError: If it fails.
    """
    words = [sys.executable, "-u", "-m", *shlex.split(command)]
    lines = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return "".join(lines)


def refresh(command: str) -> int:
    """Runs a command and replaces its tables in all pages, or in none; returns the exit status."""
    print(f"\npython -m {command}", flush=True)
    try:
        output = run(command)
        contents = {path: path.read_text(encoding="utf-8") for path in pages()}
        changed = {path: refreshed(content, command, output) for path, content in contents.items()}
    except subprocess.CalledProcessError as error:
        print(f"error: python -m {command} failed with exit status {error.returncode}", file=sys.stderr)
        return 1
    except MissingTableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path, content in changed.items():
        if content != contents[path]:
            path.write_text(content, encoding="utf-8")
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", metavar="benchmarks.NAME", help="those to run; all if none is named")
    return parser


def main() -> None:
    """Runs the commands and replaces their tables."""
    options = parser().parse_args()
    found = dict.fromkeys(command for path in pages() for command, _ in captions(path.read_text(encoding="utf-8")))
    modules = {command: command.split()[0] for command in found}
    if unknown := set(options.benchmarks) - set(modules.values()):
        parser().error(f"no caption names {', '.join(sorted(unknown))}")
    chosen = [command for command in found if not options.benchmarks or modules[command] in options.benchmarks]
    for command in chosen:  # the captions' date is that of the training, too
        shutil.rmtree(RUNS / modules[command].removeprefix("benchmarks."), ignore_errors=True)
    sys.exit(max(map(refresh, chosen), default=0))


if __name__ == "__main__":
    main()
