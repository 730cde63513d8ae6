"""What the options are called and what they do, kept on disk: their parsers take seconds to import and to build."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from multilabel_pl.atomic import atomic_path

PACKAGES = ("docstring-parser", "jsonargparse", "lightning", "torch")  # which declare options, or their texts
NO_PLACE = (OSError, RuntimeError)  # the latter if there is no home
_PACKAGE = Path(__file__).parents[1]


class Option(NamedTuple):
    """An option, as help shows it.

    Attributes:
        text: What it is, in a sentence.
        default: Its default, if there is one worth showing.
        is_plain: Whether it is an option of the command, rather than a request for help or the like.
        choices: The values that it may have, or null, if these are few.
        is_number: Whether its value is a number, or null.
    """

    text: str
    default: str | None
    is_plain: bool
    choices: list[str]
    is_number: bool


Options = dict[str, Option]  # by dotted name


class DataClass(NamedTuple):
    """A class of data: what it is, in a sentence, and its options, by names without `data.`."""

    summary: str
    options: Options


@dataclass
class Description:
    """What is known of the options.

    Attributes:
        commands: Of each command, its options but those of the data.
        data: The classes of data by name.
        optimizers: Of each optimizer, its options.
    """

    commands: dict[str, Options] = field(default_factory=dict)
    data: dict[str, DataClass] = field(default_factory=dict)
    optimizers: dict[str, Options] = field(default_factory=dict)

    @classmethod
    def read(cls) -> "Description":
        """Reads what these versions of the packages have kept; nothing if that is damaged or of others."""
        try:
            content = json.loads(_path().read_text(encoding="utf-8"))
            if content.pop("versions") == _versions():
                data = {name: DataClass(text, _options(options)) for name, (text, options) in content["data"].items()}
                commands, optimizers = (
                    {name: _options(options) for name, options in content[group].items()}
                    for group in ("commands", "optimizers")
                )
                return cls(commands, data, optimizers)
        except (*NO_PLACE, AttributeError, KeyError, TypeError, ValueError):
            pass
        return cls()

    def remember(self, command: str, options: Options) -> None:
        """Adds the options of a command, and keeps all for the next process, if there is a place for that."""
        if self.commands.get(command) == options:
            return
        self.commands[command] = options
        with suppress(*NO_PLACE), atomic_path(_path()) as path:
            path.write_text(json.dumps({"versions": _versions(), **asdict(self)}, ensure_ascii=False), encoding="utf-8")


def prefixed(prefix: str, options: Options) -> Options:
    """Returns options by their names within a group."""
    return {f"{prefix}.{name}": option for name, option in options.items()}


def first_sentence(text: str) -> str:
    """Returns the first sentence of a text, in one line."""
    return " ".join(text.split()).partition(". ")[0].removesuffix(".") + "."


def _options(content: dict[str, Any]) -> Options:
    return {name: Option(*option) for name, option in content.items()}


def _path() -> Path:
    """Returns the file of this installation, in the user's folder for what can be made again."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "multilabel_pl")
    return folder / f"options-{sha256(str(_PACKAGE).encode()).hexdigest()[:16]}.json"


@cache
def _versions() -> str:
    """Returns what the options depend on: versions, and the source of this package, which may be under development."""
    sources = (path.stat() for path in sorted(_PACKAGE.rglob("*.py")))
    own = sha256(repr([(source.st_mtime_ns, source.st_size) for source in sources]).encode()).hexdigest()
    return " ".join([sys.version, *(f"{name} {version(name)}" for name in PACKAGES), own])
