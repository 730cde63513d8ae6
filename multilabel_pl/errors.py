"""What a user's mistake raises, and a check of what is one of a few."""

from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """A mistake in what the user gave: an option, a file, a checkpoint.

    Its message names the value and the remedy. The command line prints it in one line and exits with status 2.
    """


class MultipleInputError(InputError):
    """Several mistakes, which the command line prints in a line each.

    Args:
        mistakes: At least one.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Refuses a value that is none of the choices.

    Raises:
        InputError: If it is none of them.
    """
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {value}")
