"""The canvas, which takes drawings and nothing larger."""

from collections.abc import Sequence
from io import BytesIO
from math import prod

import gradio as gr
import numpy as np
from gradio.components.base import server
from gradio.components.image_editor import AcceptBlobs, EditorData, EditorValue
from gradio.data_classes import FileData
from numpy.typing import NDArray
from PIL import Image
from starlette.exceptions import HTTPException

from multilabel_pl.task import Task

Part = FileData | bytes  # of a drawing: an uploaded file, or what a browser has sent

SIDE = 336  # pixels of the canvas's longer side
FRAME = 60  # pixels, of the tools around it
STROKE = 2.2  # pixels of the model's images, from its middle to its edge; a bit more than MNIST's
PAGE_WIDTH = 28  # of a page with a single digit, in such pixels
BLACK = 0
FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 8_000_000  # of a drawing's parts together; a canvas on a fine screen has a fourth of it in each
MAX_PARTS, MAX_BYTES = 8, 8_000_000  # of what a browser sends in advance
MAX_WAITING = 32  # drawings that were sent in advance and are not asked about yet
TOO_LARGE = 413


def blank_canvas(task: Task, paper: int) -> NDArray[np.uint8]:
    """Returns what a canvas shows before anything is drawn, in the proportions of the model's images.

    Args:
        task: The model's task.
        paper: The brightness to draw on.
    """
    _, *size = task.image_shape
    height, width = (round(side * SIDE / max(size)) for side in size)
    return np.full((height, width, 3), paper, np.uint8)


def build_canvas(task: Task, blank: NDArray[np.uint8]) -> gr.ImageEditor:
    """Builds a canvas on which a stroke is as wide as the model's images have it."""
    _, *size = task.image_shape
    stroke = STROKE * SIDE / (PAGE_WIDTH if task.preprocessing == "mnist" else max(size))
    height, width, _ = blank.shape
    ink = "#ffffff" if blank[0, 0, 0] == BLACK else "#000000"
    canvas = gr.ImageEditor(
        blank,
        type="numpy",
        sources=(),
        transforms=(),
        layers=False,
        brush=gr.Brush(round(stroke), [ink], color_mode="fixed"),
        eraser=gr.Eraser(round(2 * stroke)),
        canvas_size=(width, height),
        fixed_canvas=True,
        height=SIDE + FRAME,
        show_label=False,
        buttons=[],
    )
    _bound(canvas)
    return canvas


def _bound(canvas: gr.ImageEditor) -> None:
    """Makes a canvas refuse what no browser draws."""
    # Not in a subclass: Gradio would write a file of its types.
    decode, accept = canvas.preprocess, canvas.accept_blobs

    def preprocess(payload: EditorData | None) -> EditorValue | None:
        if payload is not None:
            _check_parts(_parts(canvas, payload))
        return decode(payload)

    @server  # type: ignore[untyped-decorator]
    def accept_blobs(data: AcceptBlobs) -> None:
        is_part = str(data.data["index"]) in ("null", *map(str, range(MAX_PARTS)))  # of a form: as text
        if not is_part or sum(len(content) for _, content in data.files) > MAX_BYTES:
            raise HTTPException(TOO_LARGE, "the drawing is larger than a canvas")
        while len(canvas.blob_storage) >= MAX_WAITING:
            canvas.blob_storage.pop(next(iter(canvas.blob_storage)))
        accept(data)

    canvas.preprocess = preprocess  # type: ignore[method-assign]
    canvas.accept_blobs = accept_blobs


def _parts(canvas: gr.ImageEditor, payload: EditorData) -> list[Part]:
    drawing = payload if payload.id is None else canvas.blob_storage.get(payload.id)
    if drawing is None:
        return []
    return [part for part in (drawing.background, *drawing.layers, drawing.composite) if part is not None]


def _check_parts(parts: Sequence[Part]) -> None:
    """Checks the headers of a drawing's parts.

    Raises:
        gradio.Error: If a part is no image, or they have more pixels than a canvas.
    """
    pixels = 0
    for part in parts:
        try:
            with Image.open(BytesIO(part) if isinstance(part, bytes) else part.path, formats=FORMATS) as image:
                pixels += prod(image.size)
        except Exception:  # Pillow raises all kinds for damaged files
            raise gr.Error("the drawing is not an image, or is damaged", print_exception=False) from None
    if pixels > MAX_PIXELS:
        message = f"the drawing has more than {MAX_PIXELS:,} pixels, which is too many for a canvas"
        raise gr.Error(message, print_exception=False)
