"""What jsonargparse offers only by names that it does not document; tried on its versions 4.51 and 4.53."""

from argparse import SUPPRESS, Action
from collections.abc import Collection
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser

from multilabel_pl.cli.description import Option, Options, first_sentence


def add_command(parser: ArgumentParser, name: str, command: ArgumentParser) -> None:
    """Adds a command to those that Lightning has added to a parser; `add_subcommands` can be called but once."""
    assert parser._subcommands_action is not None
    parser._subcommands_action.add_subcommand(name, command)


def described(parser: ArgumentParser) -> Options:
    """Describes the options of a parser by their dotted names, in order."""
    return {
        name.removeprefix("--"): _option(action)
        for name, action in parser._option_string_actions.items()
        if name.startswith("--") and not name.endswith("+")
    }


def _option(action: Action) -> Option:
    default = None if action.default in (None, False, SUPPRESS) else str(action.default)
    kinds = set(_members(getattr(action, "_typehint", None))) - {NoneType}
    is_number = bool(kinds) and kinds <= {int, float}
    return Option(first_sentence(str(action.help)), default, action.default != SUPPRESS, _choices(kinds), is_number)


def _members(hint: Any) -> tuple[Any, ...]:
    """Returns the types that a union consists of; another type is one of itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _choices(kinds: Collection[Any]) -> list[str]:
    """Returns all values of some types, none if there are more than a few."""
    if kinds == {bool}:
        return ["true", "false"]
    if len(kinds) == 1 and get_origin(literal := next(iter(kinds))) is Literal:
        return list(map(str, get_args(literal)))
    return []
