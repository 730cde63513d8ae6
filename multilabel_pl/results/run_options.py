"""The options of a run, as its config.yaml has them."""

from pathlib import Path
from typing import Any

import yaml

from multilabel_pl.errors import InputError
from multilabel_pl.file_names import CONFIG
from multilabel_pl.nested import flat


def read_config(run: Path) -> dict[str, Any] | None:
    """Reads the options of a run, in groups; None if it has left none.

    Raises:
        InputError: If its file is no configuration.
    """
    path = run / CONFIG
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError("a few aliases can stand for more than any memory holds")
        content = yaml.safe_load(text)
    except (RecursionError, ValueError, yaml.YAMLError) as error:
        raise damaged(run) from error
    if not isinstance(content, dict):
        raise damaged(run)
    return content


def damaged(run: Path) -> InputError:
    """Returns the error of a run whose options can't be read."""
    return InputError(f"{run / CONFIG} is damaged: remove it, and give the options of the run again if it is resumed")


def read_options(run: Path) -> dict[str, Any] | None:
    """Reads the options of a run by their dotted names; None if it has left none.

    Raises:
        InputError: As from `read_config`.
    """
    config = read_config(run)
    return None if config is None else flat(config)
