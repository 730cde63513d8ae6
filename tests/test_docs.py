"""The README is short, and what it and the manual refer to is there; `make docs` builds the manual."""

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from multilabel_pl.cli.commands import COMMANDS
from multilabel_pl.cli.options import DATA_CLASSES
from tests.pages import DOCS, PAGES, ROOT
from tests.test_architecture import RETIRED

FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
MAX_LINES, MAX_WIDTH = 250, 120


def prose(page: str) -> str:
    return FENCED.sub("", PAGES[page])


def anchors(page: str) -> set[str]:
    """Returns the anchors that GitHub and MyST give to the headings of a page."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE):
        kept = (c for c in heading.lower() if c in "-_ " or unicodedata.category(c)[0] in "LN")
        slug = "".join(kept).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(page: str) -> list[str]:
    return LINK.findall(CODE.sub("", prose(page)))


def test_there_are_pages_and_links() -> None:
    assert len(PAGES) > 15
    assert sum(len(links(page)) for page in PAGES) > 100


@pytest.mark.parametrize("page", PAGES)
def test_what_it_links_to_is_there(page: str) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(str(target.relative_to(ROOT))), link


@pytest.mark.parametrize("page", PAGES)
def test_the_words_are_plain_and_lines_short(page: str) -> None:
    lines = PAGES[page].splitlines()
    assert [line for line in lines if len(line) > MAX_WIDTH or RETIRED.search(line)] == []


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= MAX_LINES


def test_every_figure_is_shown() -> None:
    shown = {Path(link).name for page in PAGES for link in links(page) if link.endswith(".png")}
    assert shown == {path.name for path in DOCS.glob("*.png")}


def test_the_reference_has_every_command_and_class_of_data() -> None:
    reference = PAGES["docs/reference/command_line.md"]
    assert re.findall(r"{command-help} (\w+)", reference) == list(COMMANDS)
    assert re.findall(r"{data-help} (\w+)", reference) == list(DATA_CLASSES)
