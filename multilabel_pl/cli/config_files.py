"""Configuration files: options in YAML, those of each command in a section of its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from multilabel_pl.errors import InputError
from multilabel_pl.nested import flat


def section(options: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Returns the options of a command among those of all.

    Raises:
        InputError: If they are no mapping.
    """
    own = options.get(command, {})
    if not isinstance(own, Mapping):
        raise InputError(
            f"a configuration names the options of {command}, each with its value: it has {command}: {own}"
        )
    return flat(own)


def read_config_file(path: str) -> dict[str, Any]:
    """Returns the options in a configuration file, none if it isn't one, which the parser refuses.

    Raises:
        InputError: If it is not in YAML.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError:
        return {}
    except UnicodeDecodeError as error:
        raise InputError(f"--config takes YAML files, and {path} is not a text in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"--config takes YAML files, and {path} is not one{line}: {error.problem}") from error
    except (RecursionError, ValueError, yaml.YAMLError) as error:  # the former two of a value, such as a wrong date
        raise InputError(f"--config takes YAML files, and {path} is not one: {error}") from error
    return content if isinstance(content, dict) else {}
