"""Options within options."""

from collections.abc import Mapping
from typing import Any


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Joins the names of nested options by dots."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        nested = isinstance(value, Mapping) and value
        found |= flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return found
