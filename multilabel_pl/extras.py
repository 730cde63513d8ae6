"""The packages that only some commands need."""

from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement

from multilabel_pl.errors import InputError

PACKAGE = "multilabel_pl"


def check_extra(extra: str, task: str) -> None:
    """Finds out whether the packages of an extra in pyproject.toml are installed.

    Args:
        extra: Its name there.
        task: What needs them, to be told.

    Raises:
        InputError: If a package is missing, or is of a version that doesn't serve.
    """
    packages = [package for package in map(Requirement, requires(PACKAGE) or []) if _is_of(package, extra)]
    if missing := [f"'{package.name}{package.specifier}'" for package in packages if not _is_installed(package)]:
        raise InputError(f"{task} needs more packages: pip install {' '.join(missing)}")


def _is_of(package: Requirement, extra: str) -> bool:
    return package.marker is not None and package.marker.evaluate({"extra": extra})


def _is_installed(package: Requirement) -> bool:
    if find_spec(package.name) is None:
        return False
    try:
        return package.specifier.contains(version(package.name), prereleases=True)
    except PackageNotFoundError:
        return True  # it came under another name, as onnxruntime-gpu does
