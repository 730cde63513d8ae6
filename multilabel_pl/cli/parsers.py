"""What jsonargparse offers only by names that it does not document; tried on its versions 4.51 and 4.53."""

from argparse import SUPPRESS, Action

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
    value = action.metavar if str(action.metavar).startswith("{") else "…"
    default = None if action.default in (None, False, SUPPRESS) else str(action.default)
    return Option(str(value), first_sentence(str(action.help)), default, action.default != SUPPRESS)
