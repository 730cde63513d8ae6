"""Paths that hold from any folder."""

import os
from pathlib import Path


def absolute(path: str | Path) -> Path:
    """Returns an absolute path without `..`, and with its links, which may lead where they like."""
    return Path(os.path.abspath(path))  # noqa: PTH100, as Path.absolute keeps `..`, and Path.resolve follows links
