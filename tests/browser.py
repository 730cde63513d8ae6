"""Pages in a real browser."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from playwright.sync_api import Page, sync_playwright

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def opened(
    address: str, width: int = 1280, scheme: Literal["light", "dark"] = "light", is_ours: bool = True
) -> Iterator[Page]:
    """Opens a page, and checks at the end that it requested nothing from elsewhere.

    Scripts of ours must also not have failed, or printed anything; other libraries' print what they like.
    """
    if BROWSER is None:
        pytest.skip("there is no Chromium")
    requested: list[str] = []
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.goto(address)
        yield page
        browser.close()
    assert [url for url in requested if not url.startswith((address, "data:", "blob:"))] == []
    assert not is_ours or problems == []
