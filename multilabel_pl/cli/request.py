"""From words to options: short forms are written out, and what must be known before parsing is read."""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from multilabel_pl.cli.commands import ASKING, COMMANDS, HELP, OF_FILES, OF_SHARDS, OF_TABLES, PROGRAM_OPTIONS
from multilabel_pl.cli.config_files import read_config_file, section
from multilabel_pl.cli.recipes import find_config
from multilabel_pl.cli.suggestions import suggest_command
from multilabel_pl.errors import InputError
from multilabel_pl.file_names import BEST, LAST, SHARDS
from multilabel_pl.nested import flat

if TYPE_CHECKING:
    from lightning.pytorch.cli import ArgsType

OPTION = re.compile(r"-[^\d.].*", re.DOTALL)  # not a negative number, and not the - of standard input
HELP_ALL = "--help-all"  # the parser's own help
VALUELESS = ("-h", "--help", HELP_ALL, "--version", "--print_config")
CONFIG = ("--config", "-c")
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")  # endings of files
TABLE_RECIPE = "table"
OPTION_OF = {"CHECKPOINT": "--ckpt_path", "TABLE": "--data.table", "MODEL": "--model"}  # that an operand stands for
DIVIDING = {"val_table", "test_table", "val_size", "test_size", "default_split"}  # options that divide a table
# As other programs of LightningCLI have them: --model.optimizer SGD --model.optimizer.momentum 0.9
OPTIMIZER, OPTIMIZER_OPTIONS = "--model.optimizer.", "--model.optimizer_options."


class Word(NamedTuple):
    """An option and its value, None if that is missing; or, without a name, an operand."""

    name: str
    value: str | None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


@dataclass(frozen=True)
class Request:
    """What must be known of a command line before its options can be parsed.

    Attributes:
        command: None if it is missing.
        options: Raw values by dotted names, those of configuration files among them.
        args: What the parser is to parse, with short forms written out.
        images: Image files, folders and patterns that are named without an option.
        recipe: The recipe that the data imply.
        insists: Whether the number of devices is given twice, as for more processes than there are cores.
    """

    command: str | None
    options: dict[str, Any] = field(default_factory=dict)
    args: "ArgsType" = None
    images: list[str] = field(default_factory=list)
    recipe: str | None = None
    insists: bool = False

    @property
    def help(self) -> str | None:
        """The option that asks for help, if there is one."""
        return next((n for n in self.options if n in HELP or n.endswith(".help")), None)

    @property
    def data(self) -> str | None:
        """The name of the class of the data, if it is given."""
        path = self.get("data.class_path") or self.get("data")
        return None if path is None else class_name(path)

    @property
    def has_whole_table(self) -> bool:
        """Whether a table is named, and nothing that divides it."""
        words = (name.split(".") for name in self.options)
        asked = {word[-1] for word in words if word[0] == "data"}
        return "table" in asked and not asked & DIVIDING

    def get(self, name: str) -> str | None:
        """Returns the text of an option, None if it is not given or null."""
        value = self.options.get(name)
        return None if value in (None, "null") else str(value)

    @classmethod
    def read(cls, args: "ArgsType") -> "Request":
        """Reads the words of a command line, or a configuration as a dictionary.

        Mistakes in options are left to the parser.

        Raises:
            InputError: If there is no such command or recipe, an operand is not what the command takes, or a
            configuration is not in YAML, or has something else than options.
        """
        if args is not None and not isinstance(args, list):
            known = dict(args if isinstance(args, dict) else args.as_dict())
            command = next((name for name in known if name in COMMANDS), None)
            return cls(command, section(known, command or ""), known)
        words = [_written_out(word) for word in _read_words(sys.argv[1:] if args is None else args)]
        place = next((i for i, word in enumerate(words) if not word.name), len(words))
        before, rest = words[:place], words[place:]
        if not rest:
            return cls(None, _options(before), list(map(str, before)))
        command = str(rest[0].value)
        if command not in COMMANDS:
            raise InputError(f"there is no command {command}{suggest_command(command)}")
        takes = PROGRAM_OPTIONS if COMMANDS[command].supplied else ASKING
        if stray := next((str(word) for word in before if word.name.lstrip("-") not in takes), None):
            raise InputError(f"{stray} must come after {command}")
        if command == "validate" and any(word.name == "--output" for word in rest):
            raise InputError("validate has no --output: use tune --threshold … --calibrate … --output …")
        operands, images = _sort(command, rest[1:])
        after = [*(word for word in rest[1:] if word.name), *operands]
        common = section(_options(before, nested=True), command)
        implied, recipe = _implied(command, {**common, **_options(after)}, images)
        asked = [word for word in before if word.name.lstrip("-") in ASKING]
        after = [*asked, *implied, *after]
        given = [*(str(word) for word in before if word not in asked), command, *map(str, after)]
        given = ["--help" if word == HELP_ALL else word for word in given]
        insists = [word.name for word in after].count("--trainer.devices") > 1
        return cls(command, {**common, **_options(after)}, given, images, recipe, insists)


def class_name(class_path: str) -> str:
    """Returns the name of a class, which may be imported from several modules."""
    return class_path.rpartition(".")[2]


def _read_words(words: Sequence[str]) -> Iterator[Word]:
    """Yields options with their values, and operands."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not OPTION.fullmatch(word):
            yield Word("", word)
        elif equals:
            yield Word(name, value)
        elif name in VALUELESS or not rest or OPTION.fullmatch(rest[0]):
            yield Word(name, None)
        else:
            yield Word(name, rest.pop(0))


def _written_out(word: Word) -> Word:
    if word.name in CONFIG:
        return Word(CONFIG[0], find_config(word.value or ""))
    if word.name.startswith(OPTIMIZER) and not word.name.endswith(".help"):
        return Word(word.name.replace(OPTIMIZER, OPTIMIZER_OPTIONS), word.value)
    return Word("--data.list_file", word.value) if word.name == "--list" else word


def _sort(command: str, words: Sequence[Word]) -> tuple[list[Word], list[str]]:
    """Returns the options that operands stand for, and images, which stand for none."""
    takes = COMMANDS[command].operands
    operands: dict[str, list[str]] = {kind: [] for kind in (*OPTION_OF, "IMAGE", "RUN")}
    for operand in (str(word.value) for word in words if not word.name):
        if (kind := _kind(operand, takes)) is None:
            raise InputError(f"{command} takes {takes} and options, but {operand} is none of these")
        operands[kind].append(operand)
    options = []
    for kind, name in OPTION_OF.items():
        implied = [Word("--data.path" if _are_shards(kind, value) else name, value) for value in operands[kind]]
        given = [*implied, *(word for word in words if word.name in {each.name for each in implied})]
        if len(given) > 1:
            raise InputError(f"{command} takes one {kind.lower()}, got {' and '.join(str(w.value) for w in given)}")
        options += implied
    if operands["RUN"]:
        options.append(Word("--run", json.dumps(operands["RUN"])))
    tables, images = operands["TABLE"], operands["IMAGE"]
    if tables and images:
        raise InputError(f"{command} takes a table or images, got both: {tables[0]} and {images[0]}")
    return options, images


def _kind(operand: str, takes: str) -> str | None:
    if takes in ("[MODEL]", "[RUN…]"):
        return takes.strip("[…]")
    if "CHECKPOINT" in takes and (operand in (BEST, LAST) or operand.endswith(".ckpt")):
        return "CHECKPOINT"
    if "IMAGE" in takes:
        return "TABLE" if operand.endswith(TABLES) else "IMAGE"
    return "TABLE" if "TABLE" in takes else None


def _are_shards(kind: str, operand: str) -> bool:
    return kind == "TABLE" and Path(operand, SHARDS).is_file()


def _implied(command: str, options: Mapping[str, Any], images: Sequence[str]) -> tuple[list[Word], str | None]:
    """Returns what names the class of the data, if other options imply it, and the recipe that does."""
    if options.keys() & {"data", "data.class_path"}:
        return [], None
    if "data.table" in options and command == "fit" and "ckpt_path" not in options:
        return [Word(CONFIG[0], find_config(TABLE_RECIPE))], TABLE_RECIPE
    if "data.table" in options:
        return [Word("--data", OF_TABLES)], None
    if images or options.keys() & {"data.path", "data.list_file"}:
        return [Word("--data", OF_FILES if command == "predict" else OF_SHARDS)], None
    return [], None


def _options(words: Sequence[Word], nested: bool = False) -> dict[str, Any]:
    """Returns the values of options, and of those in configuration files, by dotted names unless nested."""
    options: dict[str, Any] = {}
    for word in words:
        found = read_config_file(str(word.value)) if word.name in CONFIG else {word.name.lstrip("-"): word.value}
        options |= found if nested else flat(found)
    return options
