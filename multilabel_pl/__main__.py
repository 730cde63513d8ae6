"""The door: `python -m multilabel_pl`."""

import sys

from multilabel_pl import __version__


def main() -> None:
    """Runs the command line of this process."""
    if sys.argv[1:] == ["--version"]:  # before Lightning's imports, which take seconds
        print(f"multilabel_pl {__version__}")
        return
    from multilabel_pl.cli import main as run

    run()


if __name__ == "__main__":
    main()
