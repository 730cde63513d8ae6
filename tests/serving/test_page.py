"""The page: served in this process, by the command line, and in a real browser."""

import gc
import io
import re
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from gradio_client import Client, handle_file  # type: ignore[import-untyped]
from PIL import Image
from playwright.sync_api import Page, expect

from multilabel_pl import MultiLabelClassifier
from multilabel_pl.cli.main import main
from multilabel_pl.data.mnist import ARCHIVES, read_digits
from multilabel_pl.model.head import HeadName
from multilabel_pl.model.prediction import Prediction
from multilabel_pl.serving.bars import bars
from multilabel_pl.serving.page import build_page, serve
from tests.browser import opened
from tests.conftest import BRIEF, QUIET
from tests.serving.server import served

CHIPS = '<div class="tags"><span class="chip">7</span> <span class="chip">≥5</span></div>'
PATIENCE = 20_000  # milliseconds


@contextmanager
def loaded(address: str) -> Iterator[Page]:
    """Opens the page, and waits until everything on it has loaded."""
    with opened(address, is_ours=False) as page:
        expect(page.locator(".tags").first).to_have_text("–", timeout=PATIENCE)
        page.locator("canvas").first.wait_for(timeout=PATIENCE)
        page.wait_for_timeout(1000)
        yield page


def test_images_and_drawings_are_answered(checkpoint: str, workplace: Path) -> None:
    model = MultiLabelClassifier.load_from_checkpoint(checkpoint)
    digits = read_digits(ARCHIVES, "test").images[:12]
    page = build_page({"a<b": model}, digits)
    client = Client(serve(page, "127.0.0.1", None), verbose=False)
    events = {tuple(event["targets"][0]): i for i, event in enumerate(client.config["dependencies"])}
    [upload] = [i for (_, name), i in events.items() if name == "change"]
    [stroke] = [i for (_, name), i in events.items() if name == "input"]

    def answer_to(image: Image.Image | str, event: int = upload) -> str:
        if isinstance(image, Image.Image):
            image.save("image.png")
            image = "image.png"
        file = handle_file(image)
        drawing = {"background": file, "layers": [file], "composite": file}
        answer: str = client.predict(file if event == upload else drawing, fn_index=event)
        return answer

    seven = Image.fromarray(255 - digits[0, 0].numpy())
    assert answer_to(seven).startswith(
        '<div class="tags"><span class="chip">7</span> <span class="chip">≥5</span></div>'
    )
    assert answer_to(seven).count('class="track') == answer_to(seven).count('class="threshold"') == 11
    assert answer_to(seven.convert("RGB").resize((336, 336)), stroke).startswith(
        '<div class="tags"><span class="chip">7</span> <span class="chip">≥5</span></div>'
    )
    assert answer_to(Image.fromarray(np.zeros((336, 336, 3), np.uint8)), stroke).startswith('<div class="tags">–</div>')
    Path("letter.png").write_text("no image")
    assert "<p>letter.png is not an image, or is damaged" in answer_to("letter.png")
    assert "a&lt;b: sigmoid" in str(client.config["components"])
    client.close()
    page.close()


@pytest.fixture(scope="module")
def server(runs: dict[HeadName, Path]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The page of both heads' models."""
    best = {head: str(run / "best.ckpt") for head, run in runs.items()}
    with served("--ckpt_path", best["sigmoid"], "--beside", best["softmax"]) as process_and_address:
        yield process_and_address


@pytest.fixture
def page(server: tuple[subprocess.Popen[str], str]) -> Iterator[Page]:
    with loaded(server[1]) as page:
        yield page


def draw_a_stroke(page: Page) -> None:
    box = page.locator("canvas").first.bounding_box()
    assert box is not None
    x, top, bottom = (
        box["x"] + box["width"] / 2,
        box["y"] + 0.2 * box["height"],
        box["y"] + 0.8 * box["height"],
    )
    page.mouse.move(x, top)
    page.mouse.down()
    page.mouse.move(x, bottom, steps=15)
    page.mouse.up()


@pytest.mark.slow
def test_a_stroke_is_a_one_to_both_models(page: Page) -> None:
    draw_a_stroke(page)
    expect(page.locator(".tags")).to_have_text(["1", "1"], timeout=PATIENCE)
    assert page.locator(".bars .track").count() == page.locator(".bars .threshold").count() == 2 * 11
    assert page.locator("h3").all_inner_texts()[0].endswith("best.ckpt: sigmoid")


@pytest.mark.slow
def test_a_cleared_canvas_can_be_drawn_on(page: Page) -> None:
    draw_a_stroke(page)
    expect(page.locator(".tags").first).to_have_text("1", timeout=PATIENCE)
    page.get_by_label("Clear canvas").first.click()
    expect(page.locator(".tags").first).to_have_text("–", timeout=PATIENCE)
    page.wait_for_timeout(1000)  # until there is a new canvas
    draw_a_stroke(page)
    expect(page.locator(".tags").first).to_have_text("1", timeout=PATIENCE)
    page.get_by_role("tab", name="Upload").click()
    expect(page.locator(".tags").first).to_have_text("–", timeout=PATIENCE)
    page.get_by_role("tab", name="Draw").click()
    expect(page.locator(".tags").first).to_have_text("1", timeout=PATIENCE)


@pytest.mark.slow
def test_an_example_is_tagged(page: Page) -> None:
    page.get_by_role("tab", name="Examples").click()
    page.locator(".examples img").first.click()
    expect(page.locator(".tags").first).to_have_text("7 ≥5", timeout=PATIENCE)


@pytest.mark.slow
def test_a_bad_upload_gets_a_message_and_the_server_lives_on(page: Page, tmp_path: Path) -> None:
    (tmp_path / "letter.png").write_text("no image")
    page.get_by_role("tab", name="Upload").click()
    page.locator("[role=tabpanel]:visible input[type=file]").set_input_files(tmp_path / "letter.png")
    message = "letter.png is not an image, or is damaged"
    expect(page.get_by_text(message, exact=True).first).to_be_visible(timeout=PATIENCE)
    page.get_by_role("tab", name="Draw").click()
    draw_a_stroke(page)
    expect(page.locator(".tags").first).to_have_text("1", timeout=PATIENCE)


@pytest.mark.slow
def test_ctrl_c_ends_it_quietly(checkpoint: str) -> None:
    with served("--ckpt_path", checkpoint) as (process, address):
        with urlopen(address) as page:
            assert b"multilabel_pl" in page.read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert errors == ""
        assert process.returncode == 0


@pytest.mark.slow
def test_a_model_of_scenes_is_shown_alone(workplace: Path) -> None:
    main(["fit", *QUIET, *BRIEF, "--data", "SceneDataModule", "--data.train_size", "200", "--data.val_size", "50"])
    with served("--ckpt_path", "best", "--data.test_size", "20") as (_, address), loaded(address) as page:
        draw_a_stroke(page)
        expect(page.locator(".bars .track")).to_have_count(11, timeout=PATIENCE)
        page.get_by_role("tab", name="Examples").click()
        expect(page.locator(".examples img")).to_have_count(12, timeout=PATIENCE)


def test_the_highest_bars_are_shown_first() -> None:
    names = [f"<b>label {i}</b>" for i in range(40)]
    prediction = Prediction([names[3]], {name: 0.9 if i == 3 else i / 100 for i, name in enumerate(names)})
    text = bars(prediction, [0.5] * 40)
    assert [int(i) for i in re.findall(r"label (\d+)&lt;/b&gt;(?:</b>)?</div>", text)] == [3, *range(39, 28, -1)]
    assert "The 12 most probable of 40 labels." in text
    assert '<span class="chip">&lt;b&gt;label 3&lt;/b&gt;</span>' in text


@pytest.mark.parametrize(("own_images", "first"), [(False, "draw"), (True, "upload")])
def test_a_page_for_own_images_opens_on_upload(checkpoint: str, own_images: bool, first: str) -> None:
    page = build_page({"model": MultiLabelClassifier.load_from_checkpoint(checkpoint)}, None, own_images)
    [tabs] = [part["props"] for part in page.get_config_file()["components"] if part["type"] == "tabs"]
    assert tabs["selected"] == first


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_a_model_is_offered_if_there_is_none(
    answer: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises(SystemExit) as caught:
        main(["demo"])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out.startswith("There is no model yet. Train one on MNIST, in half a minute (fit --config fast)? [Y/n] ")
    assert err.startswith("error: no run in runs has a checkpoint yet")
    assert list(workplace.iterdir()) == []


@pytest.mark.slow
def test_a_page_that_cannot_be_served_is_refused(
    checkpoint: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*words: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main(["demo", *QUIET, "--ckpt_path", checkpoint, *words])
        assert caught.value.code == 2
        return capsys.readouterr().err

    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()  # what other tests' servers have left open
    assert error("--beside", "none.ckpt").startswith("error: no checkpoint at none.ckpt")
    assert error("--beside", "last").startswith("error: no run in runs has a checkpoint yet")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert error("--server_port", port).startswith(f"error: the page can't be served at 127.0.0.1, port {port}: ")
    assert error("--server_port", "99999").startswith("error: the page can't be served at 127.0.0.1, port 99999: ")
    gc.collect()  # which warns of a socket that was left open
    assert error("--server_name", "no.host").startswith("error: the page can't be served at no.host: ")
    monkeypatch.setitem(sys.modules, "gradio", None)  # what Python takes for not installed
    assert error().startswith("error: the page needs more packages: pip install 'gradio<")
