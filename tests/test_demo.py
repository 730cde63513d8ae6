"""The page, in a real browser."""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from multilabel_pl.cli import main
from multilabel_pl.model.head import HeadName
from tests.conftest import QUIET

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 20_000  # milliseconds


@pytest.fixture(scope="module")
def server(runs: dict[HeadName, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """The page of both heads' models."""
    models = ["--ckpt_path", str(runs["sigmoid"] / "best.ckpt"), "--beside", str(runs["softmax"] / "best.ckpt")]
    command = [sys.executable, "-m", "multilabel_pl", "demo", *models]
    place = tmp_path_factory.mktemp("demo")
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def address(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    line = next(line for line in server.stdout if line.startswith("draw at "))
    return line.split()[2]


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    if BROWSER is None:
        pytest.skip("there is no Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        yield page
        browser.close()
    local = (address, address.replace("http", "ws", 1), "data:", "blob:")
    assert [url for url in asked if not url.startswith(local)] == []  # nothing from outside


def draw_a_stroke(page: Page) -> None:
    canvas = page.locator("canvas").first
    canvas.wait_for(timeout=PATIENCE)
    page.wait_for_timeout(1000)  # for the canvas to take part
    box = canvas.bounding_box()
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


def test_a_stroke_is_a_one_to_both_models(page: Page) -> None:
    expect(page.locator(".tags")).to_have_text(["–", "–"], timeout=PATIENCE)
    draw_a_stroke(page)
    expect(page.locator(".tags")).to_have_text(["1", "1"], timeout=PATIENCE)
    assert page.locator(".bars .track").count() == page.locator(".bars .threshold").count() == 2 * 11
    assert page.locator("h3").all_inner_texts()[0].endswith("best.ckpt: sigmoid")


def test_an_example_is_tagged(page: Page) -> None:
    page.get_by_role("tab", name="Examples").click()
    page.locator(".examples img").first.click()
    expect(page.locator(".tags").first).to_have_text("7, ≥5", timeout=PATIENCE)


def test_a_bad_upload_gets_a_message_and_the_server_lives_on(page: Page, tmp_path: Path) -> None:
    (tmp_path / "letter.png").write_text("no image")
    page.get_by_role("tab", name="Picture").click()
    page.locator("[role=tabpanel]:visible input[type=file]").set_input_files(tmp_path / "letter.png")
    message = "letter.png is not an image, or is damaged"
    expect(page.get_by_text(message, exact=True).first).to_be_visible(timeout=PATIENCE)
    page.get_by_role("tab", name="Draw").click()
    draw_a_stroke(page)
    expect(page.locator(".tags").first).to_have_text("1", timeout=PATIENCE)


def test_ctrl_c_ends_it_quietly(server: subprocess.Popen[str], address: str) -> None:
    server.send_signal(signal.SIGINT)
    _, told = server.communicate(timeout=30)
    assert told == ""
    assert server.returncode == 0


def test_what_is_missing_is_named(
    checkpoint: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main(["demo", *QUIET, "--ckpt_path", checkpoint, *words])
        assert caught.value.code == 2
        return capsys.readouterr().err

    assert told("--beside", "none.ckpt").startswith("error: no checkpoint at none.ckpt")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert told("--server_port", port).startswith(f"error: Cannot find empty port in range: {port}-{port}")
    monkeypatch.setitem(sys.modules, "gradio", None)  # what Python takes for not installed
    assert told() == "error: the page needs Gradio: pip install gradio\n"
