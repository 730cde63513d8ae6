"""What every checkpoint must hold, as far as the file alone says."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from multilabel_pl.errors import InputError
from multilabel_pl.schema.forms import (
    ANYTHING,
    COUNT,
    DICT,
    LIST,
    REMEDY,
    TEXT,
    Form,
    dict_of,
    list_of,
    record,
)

MAX_DEPTH = 50  # of dictionaries and lists within each other
MAX_VALUES = 20_000_000  # each counted as often as it is referred to
MAX_BITS = 64  # of integers
OLDEST = Version("2.0")  # of Lightning, which would change the content of older checkpoints

VERSION_NAME = "pytorch-lightning_version"


def _is_version(value: Any) -> bool:
    try:
        return isinstance(value, str) and Version(value) >= OLDEST
    except InvalidVersion:
        return False


VERSION = Form(f"a version of Lightning from {OLDEST} on", _is_version)
OPTIMIZER = record({"state": DICT, "param_groups": list_of(record({"params": LIST}))})
METADATA = dict_of(record(optional={"version": COUNT}))  # of modules: the versions of their weights
ENTRIES = {
    VERSION_NAME: VERSION,
    "epoch": COUNT,
    "global_step": COUNT,
    "state_dict": dict_of(ANYTHING),
    "hyper_parameters": dict_of(ANYTHING),
    "datamodule_hyper_parameters": dict_of(ANYTHING),
    "loops": dict_of(dict_of(DICT)),
    "callbacks": dict_of(ANYTHING),
    "optimizer_states": list_of(OPTIMIZER),
    "lr_schedulers": list_of(dict_of(ANYTHING)),
    "stopped_by": list_of(TEXT),
}
RESTORED = (VERSION_NAME, "epoch", "global_step")  # what a Trainer needs to use a checkpoint
RESUMED = (*RESTORED, "loops", "callbacks", "optimizer_states", "lr_schedulers")  # and to continue its run
MODEL = record(optional=ENTRIES)


def check_bounded(content: Any, path: Path) -> None:
    """Checks that no value in a checkpoint is without bounds, to be copied, compared or printed.

    A pickle of some bytes may hold a list within itself, or one that holds another twice, and so on; a dictionary with
    attributes that hide its methods; or a number of a million digits.

    Raises:
        InputError: If there is one.
    """
    if _size(content, {}, 0) > MAX_VALUES:
        raise InputError(f"{path} can't be used: it holds values within themselves, or too many; {REMEDY}")


def _size(value: Any, known: dict[int, float], depth: int) -> float:
    """Returns the number of values in a value, and infinity if it is without bounds."""
    if isinstance(value, int):
        return 1 if value.bit_length() <= MAX_BITS else float("inf")
    if not isinstance(value, dict | list | tuple | set):
        return 1
    if id(value) not in known:
        known[id(value)] = float("inf")  # if it is met again within itself
        hidden = isinstance(value, OrderedDict) and set(vars(value)) - {"_metadata"}  # of modules
        if depth < MAX_DEPTH and not hidden:
            known[id(value)] = 1 + sum(_size(part, known, depth + 1) for part in _parts(value))
    return known[id(value)]


def _parts(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return list(value)
    hidden = vars(value).values() if isinstance(value, OrderedDict) else ()
    return [*value, *value.values(), *hidden]
