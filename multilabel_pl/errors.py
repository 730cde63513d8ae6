"""Errors that users cause, and the exit statuses of the command line."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

INCOMPLETE = 1  # exit status of a prediction that had to leave out files, and of output that is no longer read
MISTAKE = 2  # exit status after an InputError
SIGNALLED = 128  # exit status after a signal, plus the signal's number


class InputError(ValueError):
    """A mistake in what the user gave: an option, a file, a checkpoint.

    Its message names the value and the remedy. The command line prints it in one line and exits with status 2.
    """


class MultipleInputError(InputError):
    """Several mistakes, printed by the command line on a line each.

    Args:
        mistakes: At least one.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Checks that a value is one of the choices.

    Raises:
        InputError: If it is not.
    """
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {value}")


def check_at_least(minimum: float, **values: float) -> None:
    """Checks that numbers are finite and not below a minimum.

    Args:
        minimum: The least value allowed.
        **values: The numbers by the names of their options.

    Raises:
        InputError: If a number is below the minimum, infinite or NaN.
    """
    for name, value in values.items():
        if not minimum <= value < float("inf"):
            raise InputError(f"{name} must be at least {minimum:g}, got {value}")


def check_extra(extra: str, task: str) -> None:
    """Checks that the packages of an extra in pyproject.toml are installed.

    Args:
        extra: Its name.
        task: What needs it, for the message.

    Raises:
        InputError: If a package is missing, or is of an unsupported version.
    """
    from importlib.metadata import requires  # here, since `--version` must be instant

    from packaging.requirements import Requirement

    packages = [
        package
        for package in map(Requirement, requires("multilabel_pl") or [])
        if package.marker is not None and package.marker.evaluate({"extra": extra})
    ]
    if missing := [f"'{package.name}{package.specifier}'" for package in packages if not _is_installed(package)]:
        raise InputError(f"{task} needs more packages: pip install {' '.join(missing)}")


def _is_installed(package: "Requirement") -> bool:
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    if find_spec(package.name.replace("-", "_")) is None:
        return False
    try:
        return package.specifier.contains(version(package.name), prereleases=True)
    except PackageNotFoundError:
        return True  # installed under another name, such as onnxruntime-gpu
