"""From words to one configuration: what must be known before parsing, checkpoint defaults, conflicts, checks."""

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import ArgsType

from multilabel_pl.checkpoint import read_checkpoint
from multilabel_pl.errors import InputError
from multilabel_pl.messages import note
from multilabel_pl.training.runs import newest_checkpoints

POSITIVE = ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval")  # of the trainer's options
MAX_SEED = 2**32 - 1  # NumPy's
MAX_NUMBER = 2**62  # of integers; torch has 64 bits
SPEED_ONLY = ("eval_batch_size", "max_memory", "num_workers")  # data options that don't change results


@dataclass(frozen=True)
class Request:
    """What must be known of a command line before its options can be parsed.

    Attributes:
        subcommand: None if it is missing or unknown.
        options: Raw values by dotted names, those of configuration files among them.
    """

    subcommand: str | None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def asks_for_help(self) -> bool:
        """Whether the parser will only print help."""
        return any(name in ("-h", "help") or name.endswith(".help") for name in self.options)

    def get(self, name: str) -> str | None:
        """Returns the text of an option, None if it is not given or null."""
        value = self.options.get(name)
        return None if value in (None, "null") else str(value)

    @classmethod
    def read(cls, args: ArgsType, subcommands: Collection[str]) -> "Request":
        """Reads the words of a command line, or a configuration as a dictionary, as far as that is possible.

        Mistakes are left to the parser.
        """
        if args is not None and not isinstance(args, list):
            known = dict(args if isinstance(args, dict) else args.as_dict())
            subcommand = next((name for name in known if name in subcommands), None)
            return cls(subcommand, _flat(known[subcommand]) if subcommand else {})
        words = sys.argv[1:] if args is None else args
        place = next((i for i, word in enumerate(words) if word in subcommands), None)
        if place is None:
            return cls(None)
        before, after = dict(_options(words[:place])), _options(words[place + 1 :])
        options = _flat(before.get(words[place]) or {})
        for name, value in after:
            options |= _flat({name: value})
        return cls(words[place], options)


def _options(words: list[str]) -> Iterator[tuple[str, Any]]:
    """Yields the names and values of options; those in the files of --config one by one."""
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not name.startswith("-"):
            continue
        if not equals:
            value = next(iter(words[i + 1 : i + 2]), "")
        if name in ("--config", "-c"):
            yield from _read_yaml(value).items()
        else:
            yield name.removeprefix("--"), value


def _read_yaml(path: str) -> dict[str, Any]:
    with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Joins the names of nested options by dots."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        nested = isinstance(value, Mapping) and value
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def check_values(options: Namespace, groups: Collection[str]) -> None:
    """Checks what neither jsonargparse nor Lightning refuses.

    Args:
        options: Those of a subcommand.
        groups: The groups of options that it may have; a configuration file may say `trainer: null`.

    Raises:
        InputError: If a group is something else, or a number is out of range.
    """
    for name in groups:
        if not isinstance(options.get(name, options), Namespace):
            raise InputError(f"--{name} must have options, got {options[name]}: leave it out, or set some")
    for name, value in options.items():
        if isinstance(value, int) and abs(value) > MAX_NUMBER:
            raise InputError(f"--{name.replace('.init_args', '')} is too large: {value}")
    if not 0 <= (options.get("seed_everything") or 0) <= MAX_SEED:
        raise InputError(f"--seed_everything must be in [0, {MAX_SEED}], got {options.seed_everything}")
    for name in POSITIVE:
        value = options.trainer[name]
        if isinstance(value, int | float) and value <= 0:
            raise InputError(f"--trainer.{name} must be above 0, got {value}")


def read_sound(path: Path, root: Path) -> dict[str, Any]:
    """Reads a checkpoint; for a damaged one of the runs in `root`, the message names the newest that is not."""
    try:
        return read_checkpoint(path)
    except InputError as error:
        others = newest_checkpoints(root)
        sound = next((other for other in others if _is_sound(other)), None)
        if sound is None or path.resolve() not in [other.resolve() for other in others]:
            raise
        raise InputError(f"{error}; the one before it is {sound}") from error


def _is_sound(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except InputError:
        return False
    return True


def recorded_data(content: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Returns the data options recorded in a checkpoint, unless they would import what the file names."""
    data: dict[str, Any] | None = content.get("datamodule_hyper_parameters")
    if data is None or str(data.get("class_path")).rpartition(".")[0] in sys.modules:
        return data
    note(f"{path} was trained on {data.get('class_path')}, which only --data may import")
    return None


def note_ignored(asked: Namespace, own: dict[str, Any], path: Path) -> None:
    """Reports model options that a checkpoint's override, since Lightning does so silently.

    With the checkpoint's values as defaults, whatever differs from them was asked for.
    """
    ignored = [
        f"--model.{name} {value} (it has {own[name]})"
        for name, value in asked.items()
        if name in own and value != own[name]
    ]
    if ignored:
        note(f"{path} keeps its own values, ignoring {', '.join(ignored)}")


def note_other_data(asked: Namespace, own: dict[str, Any], path: str) -> None:
    """Reports data, or options of them, with which a run is resumed that are not those it was started with."""
    if class_name(asked.class_path) != class_name(own["class_path"]):
        note(f"resuming on {class_name(asked.class_path)}, but {path} was trained on {class_name(own['class_path'])}")
        return
    changed = [
        f"--data.{name} {value} (it had {own[name]})"
        for name, value in asked.init_args.items()
        if name in own and name not in SPEED_ONLY and not _is_recorded_as(value, own[name])
    ]
    if changed:
        note(f"resuming with different data options: {', '.join(changed)}")


def _is_recorded_as(asked: Any, own: Any) -> bool:
    """Whether a value is the recorded one; paths are recorded as absolute ones, and labels as text."""
    if isinstance(asked, list):
        return list(map(str, asked)) == list(map(str, own or []))
    return asked == own or (isinstance(asked, str) and Path(asked).resolve() == Path(str(own)).resolve())


def class_name(class_path: str) -> str:
    """Returns the name of a class, which may be imported from several modules."""
    return class_path.rpartition(".")[2]
