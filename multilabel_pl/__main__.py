"""The door: `python -m multilabel_pl`."""

import os
import sys

from multilabel_pl import __version__

UNREAD = 1  # the exit status, as Python's documentation has it
UNWRITTEN = 2  # that of a mistake
INTERRUPTED = 130  # that of Ctrl-C: 128, and the number of its signal


def main() -> None:
    """Runs the command line of this process, which ends quietly on Ctrl-C, or if its output is read no further."""
    try:
        try:
            _run()
        finally:
            sys.stdout.flush()  # which Python would do in the end, with a traceback
    except BrokenPipeError:
        _drop_output()
        sys.exit(UNREAD)
    except OSError as error:  # such as a full disk
        _drop_output()
        print(f"error: standard output: {error.strerror}", file=sys.stderr)
        sys.exit(UNWRITTEN)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning's way to end
            sys.exit(INTERRUPTED)
        raise


def _drop_output() -> None:
    """Leads what is yet to be flushed to nowhere, as Python would try again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run() -> None:
    if sys.argv[1:] == ["--version"]:  # before Lightning's imports, which take seconds
        print(f"multilabel_pl {__version__}")
        return
    from multilabel_pl.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
