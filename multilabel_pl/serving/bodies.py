"""The images in the body of a request, in any of its forms; nothing here runs in the process that serves."""

import base64
import binascii
import json
import string
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from python_multipart.multipart import Field, File, create_form_parser

from multilabel_pl.errors import InputError
from multilabel_pl.images.inputs import load_bytes, load_image
from multilabel_pl.images.pixels import MAX_PIXEL
from multilabel_pl.task import Task

FORM, JSON = "multipart/form-data", "application/json"
MAX_IMAGES = 256  # of a request
FORM_OF_JSON = '{"images": […]}, each image as base64 or as an array of numbers'
WHITE_SPACE = string.whitespace.encode()  # within base64: many encoders break lines


class Body(NamedTuple):
    """The body of a request."""

    content: bytes
    content_type: str


class Loaded(NamedTuple):
    """An image of a request: its pixels, uint8 (C, H, W), or the problem that it has."""

    pixels: NDArray[np.uint8] | None
    problem: str | None = None


Item: TypeAlias = bytes | str | list[Any]  # an image: its file's content, that in base64, or nested lists of pixels


def load_images(body: Body, task: Task, max_pixels: int) -> list[Loaded]:
    """Decodes the images in a body, and brings them to the shape of a task's images.

    Args:
        body: A form with files, JSON, or else the content of an image file.
        task: The task.
        max_pixels: An image that has more is not decoded.

    Raises:
        InputError: If the body is none of these, has no images, or too many.
    """
    items = _items_in(body)
    if not items:
        raise InputError("the request has no image")
    if len(items) > MAX_IMAGES:
        raise InputError(f"the request has {len(items)} images, more than {MAX_IMAGES}: send them in several requests")
    return [_load(item, task, max_pixels) for item in items]


def _items_in(body: Body) -> list[Item]:
    kind = body.content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        return _items_in_json(body.content)
    if kind == FORM:
        return [*_files_in_form(body)]
    return [body.content] if body.content else []


def _items_in_json(content: bytes) -> list[Item]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise InputError(f"the body is not JSON: send {FORM_OF_JSON}") from None
    items = value.get("images") if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise InputError(f"the body has no images: send {FORM_OF_JSON}")
    return items


def _files_in_form(body: Body) -> list[bytes]:
    files: list[bytes] = []
    fields: list[str] = []

    def on_file(file: File) -> None:
        file.file_object.seek(0)
        files.append(file.file_object.read())

    def on_field(field: Field) -> None:
        fields.append((field.field_name or b"").decode(errors="backslashreplace"))

    in_memory = {"MAX_MEMORY_FILE_SIZE": len(body.content) + 1}
    try:
        parser = create_form_parser({"Content-Type": body.content_type.encode()}, on_field, on_file, in_memory)
        parser.write(body.content)
        parser.finalize()
    except Exception as error:  # of several kinds, for a boundary that is missing, or parts that are no form's
        raise InputError(f"the form is damaged: {error}") from error
    if fields:
        raise InputError(f"the form's field {fields[0]!r} is not a file: send each image as a file")
    return files


def _load(item: Item, task: Task, max_pixels: int) -> Loaded:
    try:
        if isinstance(item, list):
            pixels = load_image(_as_array(item), task)
        else:
            content = item if isinstance(item, bytes) else _from_base64(item)
            pixels = load_bytes(content, "the file", task, max_pixels)
    except InputError as error:
        return Loaded(None, str(error))
    except MemoryError:
        return Loaded(None, "the image takes more memory than there is")
    return Loaded(pixels.numpy())


def _from_base64(text: str) -> bytes:
    if not isinstance(text, str):
        raise InputError("an image must be base64 or an array of numbers")
    data = text.partition(",")[2] if text.startswith("data:") else text  # as in the address of an image on a page
    try:
        return base64.b64decode(data.encode().translate(None, WHITE_SPACE), validate=True)
    except (binascii.Error, ValueError):
        raise InputError("the image is not base64") from None


def _as_array(pixels: list[Any]) -> NDArray[np.uint8]:
    objects = np.asarray(pixels, dtype=object)  # in an array of texts, each would take the room of the longest
    values = objects.ravel().tolist()
    with suppress(TypeError, ValueError):  # bytes refuses all but whole numbers from 0 to 255
        if values and not isinstance(values[0], bool):
            return np.frombuffer(bytes(values), np.uint8).reshape(objects.shape)
    raise InputError(f"an array must have whole numbers from 0 to {MAX_PIXEL}, and rows of one length")
