"""The form of the files of a folder of shards.

LitData's index may name pickles, classes to build and other formats, and a chunk may pose as one of them. So both are
compared with what this program writes before LitData reads them.
"""

import json
import math
import os
import re
from typing import Any

import numpy as np

from multilabel_pl.data.annotations.records import SPLITS
from multilabel_pl.schema.forms import (
    COUNT,
    DICT,
    MAX_COUNT,
    NONE,
    TEXT,
    Form,
    either,
    exactly,
    list_of,
    list_with,
    record,
    whole_number,
)
from multilabel_pl.task import Task

VERSION = 1  # of the form
NUMBER = np.dtype("<u4")  # in a chunk: how many images, and where each begins
MAX_CHUNK = 2**32 - 1  # bytes, which such a number counts
ARROW = b"LDARW01\0"  # at the end of a chunk, it would make LitData look for a table there

POSITIVE = whole_number(1, MAX_COUNT)
LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
PAIR = json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": [LEAF, LEAF]}])  # LitData's words
CONFIG = record(
    {
        "data_format": list_with([exactly("no_header_tensor:11"), exactly("no_header_tensor:12")]),  # uint8 and int8
        "data_spec": exactly(PAIR),
        "compression": NONE,
        "encryption": NONE,
        "item_loader": exactly("PyTreeLoader"),
    },
    {
        "chunk_size": POSITIVE,
        "chunk_bytes": NONE,
        "compression_level": NONE,
        "compression_batch_size": NONE,
        "ipc_compression": NONE,
        "types": either(TEXT, NONE),
    },
    closed=True,
)
CHUNK_NAME = Form(
    "a name such as chunk-0-0.bin",
    lambda value: isinstance(value, str) and bool(re.fullmatch(r"chunk-\d+-\d+\.bin", value, re.ASCII)),
)
CHUNK = record({"filename": CHUNK_NAME, "chunk_size": POSITIVE, "chunk_bytes": POSITIVE}, {"dim": NONE}, closed=True)
CHUNKS = record({"chunks": list_of(CHUNK), "config": CONFIG}, {"updated_at": TEXT}, closed=True)
FILE_NAMES = list_of(Form("the name of a file", lambda value: isinstance(value, str) and _is_file_name(value)))


def _is_file_name(value: str) -> bool:
    try:
        return b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def image_size(task: Task) -> int:
    """Returns the bytes of an image in a chunk: two lengths, its pixels, and a mark for each label."""
    return 2 * NUMBER.itemsize + math.prod(task.image_shape) + len(task.labels)


def chunk_size(count: int, task: Task) -> int:
    """Returns the bytes of a chunk of so many images."""
    return NUMBER.itemsize * (count + 2) + count * image_size(task)


def chunk_head(count: int, task: Task) -> bytes:
    """Returns the first bytes of a chunk: how many images, where each begins, and where the last one ends."""
    first = NUMBER.itemsize * (count + 2)
    if chunk_size(count, task) > MAX_CHUNK:
        return b""  # which no chunk can be
    places = first + image_size(task) * np.arange(count + 1, dtype=np.int64)
    return np.concatenate([[count], places]).astype(NUMBER).tobytes()


def description_form() -> Form:
    """Returns the form of a folder's description."""
    task = {
        "labels": list_of(TEXT),
        "image_shape": list_with([whole_number(1, MAX_CHUNK)] * 3),
        "preprocessing": TEXT,
        "background": TEXT,
    }
    return record({"version": exactly(VERSION), "task": record(task, closed=True), "splits": DICT}, closed=True)


def splits_form(labels: int) -> Form:
    """Returns the form of its part on the splits, for so many labels."""
    of_labels = list_with([COUNT] * labels)
    counts = record({"images": COUNT, "positive": of_labels, "known": of_labels}, closed=True)
    return record(optional=dict.fromkeys(SPLITS, counts), closed=True)
