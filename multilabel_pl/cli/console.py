"""One-line errors."""

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout

from jsonargparse import ArgumentError

from multilabel_pl.cli.mistakes import fail
from multilabel_pl.cli.request import Request
from multilabel_pl.errors import InputError, MultipleInputError
from multilabel_pl.file_names import STDOUT
from multilabel_pl.processes import LOST, is_lost_connection
from multilabel_pl.training.quiet import log_to_stdout

TOO_LARGE = re.compile(
    "out of memory|can't allocate memory|Storage size calculation overflowed|Overflow when unpacking"
)
TRACKERS = ("mlflow.", "wandb.")  # packages of loggers, imported where one is used: no login, no server, no such run


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns a user's mistake into one line on standard error and exit status 2; a bug keeps its traceback."""
    try:
        yield
    except BrokenPipeError:
        raise  # the output is no longer read, which is no mistake
    except ArgumentError as error:
        fail(_in_short(str(error)))
    except OSError as error:
        fail(error)
    except (MemoryError, ModuleNotFoundError, RuntimeError, TypeError, ValueError) as error:
        if is_lost_connection(error):
            print("error: another process of this run is gone", file=sys.stderr)
            sys.exit(LOST)
        mistake = _mistake(error)
        if mistake is None:
            raise
        fail(mistake if isinstance(mistake, MultipleInputError) else _own_words(mistake))
    except Exception as error:
        if not _is_for_users(error):
            raise
        fail(str(error))


@contextmanager
def messages_apart_from_rows(request: Request) -> Iterator[None]:
    """Sends all messages to standard error if the rows of a prediction go to standard output."""
    rows = request.command == "predict" and request.get("output") == STDOUT
    with redirect_stdout(sys.stderr) if rows else nullcontext():
        log_to_stdout()
        yield


def agrees_to_train() -> bool:
    """Asks whether a model is to be trained for the page; no, where nobody can answer."""
    if not sys.stdin.isatty():
        return False
    try:
        answer = input("There is no model yet. Train one on MNIST, in half a minute (fit --config fast)? [Y/n] ")
    except EOFError:
        return False
    return answer.strip().lower() in ("", "y", "yes")


def _mistake(error: BaseException | None) -> BaseException | None:
    """Returns the user's mistake that caused an error, None if it is a bug.

    jsonargparse wraps the errors of data modules, loggers and callbacks, once or twice.
    """
    if error is None or _is_for_users(error) or isinstance(error, InputError | ModuleNotFoundError):
        return error
    if isinstance(error, MemoryError) or TOO_LARGE.search(str(error)):  # torch's messages
        return InputError(
            "this takes more memory than there is: lower a size, such as --data.batch_size or --data.eval_batch_size"
        )
    return error if _is_of_lightning(error) else _mistake(error.__cause__)


def _is_for_users(error: BaseException) -> bool:
    """Whether an error is of a kind that libraries raise for users: known by name, as most commands import none."""
    return type(error).__module__.startswith(TRACKERS) or type(error).__name__ == "MisconfigurationException"


def _is_of_lightning(error: BaseException) -> bool:
    """Whether Lightning itself raised an error, as it does for a wrong option."""
    names = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not isinstance(error, TypeError) and bool(names) and names[-1].startswith("lightning.")


def _own_words(mistake: BaseException) -> str:
    """Removes the traceback that torch puts before the message of a worker process."""
    return str(mistake).rpartition(f"{InputError.__name__}: ")[2]


def _in_short(message: str) -> str:
    """Shortens jsonargparse's messages by types that mean nothing to users."""
    message = re.sub(r'Parser key "([^"]+)":', r"--\1:", message)
    message = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", message)
    message = message.replace("Expected a typing.Literal", "Expected one of ")
    message = message.replace("Does not validate against any of the Union subtypes", "")
    message = re.sub(r"\ba (?=int\b|Iterable)", "an ", message)
    message = message.replace("Expected a list", 'Expected a list, such as "[0, 9]"')
    noise = (
        "Subtypes:",
        "Errors:",
        "Given value type:",
        "Given value: NestedArg",
        "Given value: Namespace",
        "Expected a NoneType",
    )
    lines = dict.fromkeys(
        re.sub(r"^\s*(- )?", "", line) for line in message.splitlines()
    )  # each alternative has its own
    short = "; ".join(line for line in lines if line and not line.startswith(noise)).replace(":;", ":")
    short = re.sub(r"--(\w+): Problem with given class_path '[^']+': --(\w+):", r"--\1.\2:", short)
    required = r"--(\w+): Problem with given class_path '[^']+': the following arguments are required: (\w+)"
    return re.sub(required, r"--\1.\2 is required", short)
