"""Mistakes in values that can be seen before they are parsed."""

from collections.abc import Iterator, Mapping
from typing import Any

from multilabel_pl.cli.description import Options
from multilabel_pl.errors import MultipleInputError

YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "~", ""}  # which have a type, that the parser knows
NUMBERS = {"inf", "infinity", "nan"}


def check_plain_values(asked: Mapping[str, Any], known: Options) -> None:
    """Checks that no value is a word where a number or one of a few choices is expected.

    The parser, which knows all types, checks what passes here.

    Args:
        asked: Raw values by dotted names.
        known: The options by these names.

    Raises:
        MultipleInputError: If some values are.
    """
    if mistakes := list(_mistakes(asked, known)):
        raise MultipleInputError(mistakes)


def _mistakes(asked: Mapping[str, Any], known: Options) -> Iterator[str]:
    for name, value in asked.items():
        option = known.get(name)
        if option is None or not isinstance(value, str) or value.lower() in YAML_WORDS:
            continue
        if option.choices and value not in option.choices:
            yield f"--{name} must be one of {', '.join(option.choices)}, got {value}"
        elif option.is_number and value.isalpha() and value.lower() not in NUMBERS:
            yield f"--{name} must be a number, got {value}"
