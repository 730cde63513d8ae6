"""What is answered without the parsers, in a tenth of their time: help, and mistakes in names and plain values."""

import sys
from typing import TYPE_CHECKING, NoReturn

from multilabel_pl import __version__
from multilabel_pl.cli.commands import COMMANDS, OF_MNIST, overview
from multilabel_pl.cli.description import Description, prefixed
from multilabel_pl.cli.help import help_for
from multilabel_pl.cli.mistakes import fail
from multilabel_pl.cli.plain_values import check_plain_values
from multilabel_pl.cli.request import Request
from multilabel_pl.cli.suggestions import check_options
from multilabel_pl.errors import InputError
from multilabel_pl.messages import say

if TYPE_CHECKING:
    from lightning.pytorch.cli import ArgsType


def read_request(args: "ArgsType" = None) -> Request:
    """Reads a command line, and ends the program with help, or with a mistake that can be seen by now.

    Args:
        args: The words after the program's name, those of this process if not given, or a configuration.

    Returns:
        What is asked for, to be parsed.

    Raises:
        SystemExit: As said.
    """
    try:
        request = Request.read(args)
    except (InputError, OSError) as mistake:
        fail(mistake)
    try:  # apart, as an error of the system would now be of standard output
        _answer(request)
    except InputError as mistake:
        fail(mistake)
    return request


def _answer(request: Request) -> None:
    """Answers what the options that are kept suffice for."""
    if "version" in request.options:
        _end(f"multilabel_pl {__version__}")
    if request.command is None and request.help is not None:
        _end(overview())
    if request.command is None and not request.options:
        raise InputError(f"no command is given: there are {', '.join(COMMANDS)}; --help explains them")
    known = Description.read()
    if request.command in known.commands:
        print_help(request, known)
        check_early(request, known)


def print_help(request: Request, known: Description) -> None:
    """Prints the help that is asked for, if the parser doesn't do that, and ends the program."""
    if (text := help_for(request, known)) is not None:
        _end(text)


def check_request(request: Request, known: Description, default_data: str, is_sure: bool = True) -> None:
    """Checks that all options exist, and that their values may be theirs.

    Args:
        request: What is asked for.
        known: The options, those of the command among them.
        default_data: The class of the data if none is named.
        is_sure: Whether it is; otherwise a mistake must be one whatever the data are.

    Raises:
        MultipleInputError: If some don't exist, with what was probably meant by each, or a value can't be one.
    """
    if request.help is not None:
        return
    command = str(request.command)
    classes = known.data if COMMANDS[command].supplied else {}  # a function takes no data
    is_sure = is_sure or request.data is not None
    data = request.data or default_data
    asked = {name.replace("data.init_args.", "data."): value for name, value in request.options.items()}
    names = [*known.commands[command], *(["list"] if command == "predict" else [])]  # which stands for data.list_file
    check_options(asked, names, classes, data, is_sure)
    of_data = classes[data].options if is_sure and data in classes else {}
    check_plain_values(asked, {**known.commands[command], **prefixed("data", of_data)})


def check_early(request: Request, known: Description) -> None:
    """Checks what can be checked before a checkpoint is read, whose data are the default.

    Raises:
        MultipleInputError: As from `check_request`.
    """
    is_new = request.command == "fit" and request.get("ckpt_path") is None
    check_request(request, known, OF_MNIST, is_sure=is_new)


def _end(text: str) -> NoReturn:
    say(text)
    sys.exit(0)
