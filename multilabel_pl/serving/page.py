"""The page: a canvas, a place to drop an image, some examples; and beside them the predictions of each model."""

import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # it is asked for when Gradio is imported

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.middleware import Middleware
from torch import Tensor

from multilabel_pl.errors import InputError
from multilabel_pl.images.inputs import ImageInput
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.serving.bars import STYLE, bars, no_bars
from multilabel_pl.serving.canvas import BLACK, FRAME, SIDE, blank_canvas, build_canvas
from multilabel_pl.serving.hosts import KnownHosts, names_of
from multilabel_pl.serving.uploads import bounded

Panels = Mapping[gr.HTML, MultiLabelClassifier]  # of the page, with the models that they are for

WHITE = 255
MAX_PORT = 2**16 - 1
UPLOADS_STAY = 600  # seconds
LARGEST_UPLOAD = "50mb"
HEADING = """
<h1>Which tags?</h1>
<p>Draw, upload or choose an image: the model gives it every label whose probability reaches the label's threshold.</p>
"""
NOTHING_YET = "Draw something, upload an image, or choose an example."
THEME = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # none from outside
CSS = f"{STYLE} .examples img {{ image-rendering: pixelated; }}"


def build_page(
    models: Mapping[str, MultiLabelClassifier], examples: Tensor | None, own_images: bool = False
) -> gr.Blocks:
    """Builds the page.

    Args:
        models: By name; shown side by side.
        examples: Images to choose from, uint8 (N, C, H, W), if there are any.
        own_images: Whether the models are for images of the user's, so that one is to be uploaded rather than drawn.
    """
    task = next(iter(models.values())).task
    assert task is not None
    page: gr.Blocks
    cache = UPLOADS_STAY, UPLOADS_STAY
    with gr.Blocks(title="multilabel_pl", analytics_enabled=False, delete_cache=cache, fill_width=True) as page:
        gr.HTML(HEADING)
        with gr.Row():
            with gr.Column(min_width=SIDE + FRAME), gr.Tabs(selected="upload" if own_images else "draw"):
                with gr.Tab("Draw", id="draw") as drawing:
                    blank = blank_canvas(task, _paper(examples))
                    canvas = build_canvas(task, blank)
                with gr.Tab("Upload", id="upload") as showing:
                    upload = _upload()
                if examples is not None:
                    with gr.Tab("Examples", id="examples"):
                        gallery = gr.Gallery(
                            _as_arrays(examples),
                            columns=4,
                            height="auto",
                            allow_preview=False,
                            show_label=False,
                            elem_classes="examples",
                            buttons=[],
                        )
            panels = {_panel(f"{name}: {model.hparams['head']}"): model for name, model in models.items()}
        live: dict[str, Any] = {
            "outputs": list(panels),
            "show_progress": "hidden",
            "trigger_mode": "always_last",
            "concurrency_id": "answers",  # of all events together, one at a time: an image may take much memory
            "concurrency_limit": 1,
        }
        canvas.clear(lambda: blank, None, canvas, show_progress="hidden")  # as it leaves nothing to draw on
        canvas.input(partial(_of_stroke, panels), canvas, **live)
        drawing.select(partial(_of_canvas, panels), canvas, **live)
        gr.on([upload.change, showing.select], partial(_of_file, panels), upload, **live)
        if examples is not None:
            gallery.select(_of_example(panels, examples), None, **live)
    return page


def serve(page: gr.Blocks, server_name: str, server_port: int | None) -> str:
    """Serves the page in the background, and returns its address.

    Raises:
        InputError: If there is no such address, or its port is taken.
    """
    host = server_name.strip("[]")
    _check_address(host, server_port or 0)
    page.queue(api_open=False)  # or requests could be answered at once instead of one at a time
    _, address, _ = page.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=server_port or None,
        share=False,
        ssr_mode=False,
        quiet=True,
        show_error=True,
        prevent_thread_lock=True,
        max_file_size=LARGEST_UPLOAD,
        enable_monitoring=False,
        app_kwargs={"middleware": [Middleware(KnownHosts, names_of(host))]},
        footer_links=[],
        theme=THEME,
        css=CSS,
    )
    return address


def _check_address(host: str, port: int) -> None:
    """Tries to listen there for a moment: Gradio would try for long, and report little."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if not 0 <= port <= MAX_PORT:  # at which create_server would leave its socket open
            raise OSError(f"a port must be in [0, {MAX_PORT}]")
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        place = f"{host}, port {port}" if port else host
        reason = str(error).rstrip(".")
        raise InputError(
            f"the page can't be served at {place}: {reason}: choose another --server_name or --server_port"
        ) from None


def _upload() -> gr.Image:
    upload = gr.Image(sources=["upload", "clipboard"], height=SIDE + FRAME, show_label=False, buttons=[])
    # The file as it was uploaded, for `predict_images` to decode. (Of a subclass, Gradio would write a file of types.)
    upload.preprocess = lambda payload: payload.path if payload is not None else None  # type: ignore[method-assign]
    return upload


def _panel(name: str) -> gr.HTML:
    with gr.Column(min_width=280):
        gr.HTML(f"<h3>{escape(name)}</h3>")
        return gr.HTML(no_bars(NOTHING_YET))


def _paper(examples: Tensor | None) -> int:
    """Returns the brightness to draw on: that of the examples, if there are any."""
    return BLACK if examples is not None and examples.float().mean() < WHITE / 2 else WHITE


def _as_arrays(images: Tensor) -> list[NDArray[np.uint8]]:
    return [image.expand(3, -1, -1).permute(1, 2, 0).numpy() for image in images]  # (C, H, W) -> (H, W, 3)


def _answers(panels: Panels, image: ImageInput | None) -> dict[gr.HTML, str]:
    """Returns what each panel shows for an image."""
    if image is None:
        return dict.fromkeys(panels, no_bars(NOTHING_YET))
    return {panel: _answer(model, image) for panel, model in panels.items()}


def _answer(model: MultiLabelClassifier, image: ImageInput) -> str:
    try:
        [prediction] = model.predict_images(image)
    except InputError as error:
        return no_bars(str(error))
    return bars(prediction, model.decision.thresholds.tolist())


def _of_canvas(panels: Panels, drawing: dict[str, Any] | None) -> dict[gr.HTML, str]:
    pixels = drawing["composite"] if drawing is not None else None
    if pixels is None or (pixels == pixels[0, 0]).all():  # it is blank
        return _answers(panels, None)
    return _answers(panels, Image.fromarray(pixels))


def _of_stroke(panels: Panels, drawing: dict[str, Any] | None) -> dict[gr.HTML, str] | dict[str, Any]:
    """Answers as `_of_canvas`, but not for a canvas that was just reset: its event may be late, and in another tab."""
    is_untouched = drawing is not None and drawing["background"] is not None and not drawing["layers"]
    return gr.skip() if is_untouched else _of_canvas(panels, drawing)


def _of_file(panels: Panels, path: str | None) -> dict[gr.HTML, str]:
    try:
        answers = _answers(panels, path and bounded(path))
    except InputError as error:
        answers = dict.fromkeys(panels, no_bars(str(error)))
    folder = f"{Path(path or '').parent}/"  # Gradio's, which means nothing to people
    return {panel: answer.replace(folder, "") for panel, answer in answers.items()}


def _of_example(panels: Panels, examples: Tensor) -> Callable[[gr.EventData], dict[gr.HTML, str]]:
    def answer(chosen: gr.EventData) -> dict[gr.HTML, str]:  # gr.SelectData can't be made of a request without an index
        index = chosen._data.get("index") if isinstance(chosen._data, dict) else None
        if not isinstance(index, int) or not 0 <= index < len(examples):
            return dict.fromkeys(panels, no_bars(f"there is no such example: choose one of the {len(examples)}"))
        return _answers(panels, examples[index])

    return answer
