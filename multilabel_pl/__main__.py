"""The door: `python -m multilabel_pl`."""

import os
import sys

from multilabel_pl import __version__

UNREAD = 1  # the exit status, as Python's documentation has it


def main() -> None:
    """Runs the command line of this process, which ends quietly if its output is read no further, as by `head`."""
    try:
        try:
            _run()
        finally:
            sys.stdout.flush()  # which Python would do in the end, with a traceback
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is yet to be flushed
        sys.exit(UNREAD)


def _run() -> None:
    if sys.argv[1:] == ["--version"]:  # before Lightning's imports, which take seconds
        print(f"multilabel_pl {__version__}")
        return
    from multilabel_pl.cli import main as run

    run()


if __name__ == "__main__":
    main()
