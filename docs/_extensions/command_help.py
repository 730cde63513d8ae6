"""Directives that show what the command line says of itself, so that the manual can't differ from it.

`command-help` shows a command's usage, examples and options; `data-help`, the options of a class of data.
"""

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout, suppress
from functools import cache
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

OPTION = re.compile(r"  (--\S+(?: (?:…|\{\S+\}|\[\w+\]))?)(?: +(.*))?")
INDENT = "      "  # of a line that continues the text of an option, at least


class CommandHelp(Directive):
    """The help of a command, as `--help` prints it, laid out as a page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Returns the usage, the summary, the examples and the options."""
        usage, summary, *blocks = _printed(self.arguments[0], "--help").split("\n\n")
        shown: list[nodes.Node] = [nodes.paragraph("", summary), _code(usage.removeprefix("usage: "))]
        for title, lines in _titled(blocks):
            shown += [nodes.rubric("", title.capitalize()), _options(lines) or _code(_aligned(lines))]
        return shown


class DataHelp(Directive):
    """The help of a class of data."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Returns what the class is, and its options."""
        summary, options = _printed("fit", f"--data.help={self.arguments[0]}").split("\n\n")
        return [nodes.paragraph("", summary.partition(": ")[2]), _options(options.splitlines())]


@cache
def _printed(*words: str) -> str:
    from multilabel_pl.cli.main import main

    with redirect_stdout(io.StringIO()) as output, suppress(SystemExit):
        main(list(words))
    return output.getvalue().strip("\n")


def _titled(blocks: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    for block in blocks:
        title, *lines = block.splitlines()
        yield title.removesuffix(":"), lines


def _aligned(lines: list[str]) -> str:
    """Puts what an example does above it, since a line for both is too long for a narrow screen."""
    pairs = (re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines)
    return "\n\n".join(f"# {meaning}\n{command}" for command, meaning in pairs)


def _code(text: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language="sh")


def _options(lines: list[str]) -> nodes.definition_list | None:
    """Returns the options of a part of the help; None if these are others."""
    options: list[tuple[str, list[str]]] = []
    for line in lines:
        if match := OPTION.fullmatch(line):
            options.append((match[1], [match[2] or ""]))
        elif options and line.startswith(INDENT):
            options[-1][1].append(line)
        else:
            return None
    shown = nodes.definition_list(classes=["options"])
    for name, words in options:
        text = " ".join(" ".join(words).split())
        term = nodes.term("", "", nodes.literal("", name))
        shown += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", "", *_inline(text))))
    return shown


def _inline(text: str) -> Iterator[nodes.Node]:
    """Yields text, and what stands in backticks as code."""
    for place, part in enumerate(text.split("`")):
        yield nodes.literal("", part) if place % 2 else nodes.Text(part)


def setup(app: Sphinx) -> dict[str, Any]:
    """Adds the directives."""
    app.add_directive("command-help", CommandHelp)
    app.add_directive("data-help", DataHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
