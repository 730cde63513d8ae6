"""The entry point of `python -m multilabel_pl` and of the script multilabel-pl."""

import os
import resource
import signal
import sys
from pathlib import Path

from multilabel_pl.errors import INCOMPLETE, MISTAKE, SIGNALLED
from multilabel_pl.processes import end_with_parent

GB = 1e9
ADDRESS_SPACE = 4 * GB  # bytes that importing Lightning and a first step map; with less, C++ ends the process


def main() -> None:
    """Runs the command line of this process, which ends quietly on Ctrl-C, or if its output is no longer read."""
    _prepare_output()
    try:
        try:
            _run()
        finally:
            sys.stdout.flush()  # which Python would do at exit, with a traceback
    except BrokenPipeError:
        _drop_output()
        sys.exit(INCOMPLETE)
    except OSError as error:  # such as a full disk
        _drop_output()
        reason = f"standard output: {error.strerror}" if error.strerror else str(error)  # a library's, without a number
        print(f"error: {reason}", file=sys.stderr)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        sys.exit(SIGNALLED + signal.SIGINT)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning's way to end
            sys.exit(SIGNALLED + signal.SIGINT)
        raise


def _prepare_output() -> None:
    """Lets output that is closed go nowhere, and escapes what its encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115, until the process ends
        else:
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Redirects what is still to be flushed to nowhere, as Python would try again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run() -> None:
    from multilabel_pl.cli.answers import read_request

    request = read_request()  # which may end the program before the imports below, which take seconds
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= limit < ADDRESS_SPACE:
        print(f"error: {limit / GB:.1f} GB of memory (ulimit -v) don't hold PyTorch: allow 4 or more", file=sys.stderr)
        sys.exit(MISTAKE)
    end_with_parent()
    from multilabel_pl.imports import lasting_imports

    with lasting_imports():
        from multilabel_pl.cli.main import load, run

        load(request)
    run(request)


if __name__ == "__main__":
    main()
