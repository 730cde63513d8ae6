"""Pages in HTML: each is one file that needs nothing from elsewhere, and runs no code but its own."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multilabel_pl import __version__
from multilabel_pl.atomic import atomic_path

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

FOLDER = Path(__file__).parent / "page"


def write_page(template: str, content: Mapping[str, Any], path: Path) -> None:
    """Writes a page; text in it stays text, whatever it is, and the bytes of names that are no UTF-8 are escaped.

    Args:
        template: Name of a file in the folder `page`, a template of Jinja's.
        content: What it is of, a `title` among it.
        path: Where to.
    """
    page = _environment().get_template(template).render(made=_made(), **content)
    with atomic_path(path) as partial:
        partial.write_text(page, encoding="utf-8", errors="backslashreplace")


def _made() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}, multilabel_pl {__version__}"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # takes a while to import

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["source"] = _source
    return environment


def _source(name: str) -> "Markup":
    """Returns a style sheet or a script of the folder, to write into a page as it is."""
    from markupsafe import Markup

    return Markup((FOLDER / name).read_text(encoding="utf-8"))
