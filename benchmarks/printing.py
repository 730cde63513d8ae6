"""How benchmarks print their results; shared by all."""

from functools import partial

from multilabel_pl.results import text

table = partial(text.table, is_markdown=True)  # of cells that are Markdown, such as names of commands in backticks
