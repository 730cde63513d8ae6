"""The command line."""

from importlib import import_module
from typing import TYPE_CHECKING

from multilabel_pl.cli.answers import read_request
from multilabel_pl.cli.console import agrees_to_train, one_line_errors
from multilabel_pl.cli.functions import FUNCTIONS, run_function
from multilabel_pl.cli.request import Request
from multilabel_pl.training.allocator import keep_freed_memory
from multilabel_pl.training.quiet import filter_messages
from multilabel_pl.training.runs import RUNS, NoRunError

if TYPE_CHECKING:
    from lightning.pytorch.cli import ArgsType

DEMO_RECIPE = "fast"


def main(args: "ArgsType" = None) -> None:
    """Runs the command line.

    Args:
        args: The words after the program's name; those of this process if not given.

    Raises:
        SystemExit: With status 2 after a user's mistake, which is reported in one line on standard error.
    """
    run(read_request(args))


def load(request: Request) -> None:
    """Imports Lightning, which takes seconds, if the command needs it.

    Raises:
        SystemExit: As from `main`.
    """
    if request.command not in FUNCTIONS:
        with one_line_errors():
            import_module("multilabel_pl.cli.lightning_cli")


def run(request: Request) -> None:
    """Does what is asked for.

    Raises:
        SystemExit: As from `main`.
    """
    keep_freed_memory()
    with one_line_errors():
        if request.command in FUNCTIONS:
            run_function(request)
        else:
            _run_trainer(request)


def _run_trainer(request: Request) -> None:
    from multilabel_pl.cli.lightning_cli import CLI  # see `load`
    from multilabel_pl.cli.options import configure_parsers
    from multilabel_pl.training.missing_gpu import stop_looking_for_gpus

    stop_looking_for_gpus()
    filter_messages()
    configure_parsers(completes="print_completion" in request.options)
    try:
        CLI(request)
    except NoRunError:
        if request.command != "demo" or request.get("ckpt_path") is not None or not agrees_to_train():
            raise
        root = request.get("trainer.default_root_dir") or RUNS
        CLI(Request.read(["fit", "--config", DEMO_RECIPE, "--trainer.default_root_dir", root]))
        CLI(request)
