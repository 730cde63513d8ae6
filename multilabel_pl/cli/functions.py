"""Commands that are functions, rather than methods of the Trainer."""

from collections.abc import Callable

from jsonargparse import ArgumentParser

from multilabel_pl.cli.answers import check_request, print_help
from multilabel_pl.cli.commands import program
from multilabel_pl.cli.compare import compare
from multilabel_pl.cli.description import Description
from multilabel_pl.cli.parsers import add_command, described
from multilabel_pl.cli.request import Request
from multilabel_pl.cli.serve import serve

FUNCTIONS: dict[str, Callable[..., None]] = {"serve": serve, "compare": compare}


def function_parser(command: str) -> ArgumentParser:
    """Returns a parser of the options of a command."""
    parser = ArgumentParser(prog=f"{program()} {command}", exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_function_arguments(FUNCTIONS[command])
    return parser


def add_functions(parser: ArgumentParser) -> None:
    """Adds these commands to a parser of all the others."""
    for name in FUNCTIONS:
        add_command(parser, name, function_parser(name))


def run_function(request: Request) -> None:
    """Runs a command, or prints its help."""
    command = str(request.command)
    parser = function_parser(command)
    known = Description.read()
    known.remember(command, described(parser))
    print_help(request, known)
    check_request(request, known, "")
    if isinstance(request.args, list):
        parsed = parser.parse_args(request.args[request.args.index(command) + 1 :])
    else:
        parsed = parser.parse_object(dict(request.args or {})[command])
    parsed.pop("config", None)
    FUNCTIONS[command](**parsed.as_dict())
