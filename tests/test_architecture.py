"""The house: what may import what, how large files may grow, and which words it is written in."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "multilabel_pl"
# Each layer imports only layers above it, and itself; those on one line stand beside each other and never import each
# other. The files of the root (but its two dunder files) and `images` are the ground.
LAYERS = [
    ["ground"],
    ["data", "model"],
    ["results"],
    ["export"],
    ["serving"],
    ["training"],
    ["cli"],
    ["entry"],
]
ORDER = {name: height for height, layer in enumerate(LAYERS) for name in layer}
MAX_LINES = {
    "multilabel_pl.cli.lightning_cli": 330,
    "multilabel_pl.training.trainer": 300,
    "multilabel_pl.data.table": 250,
    "multilabel_pl.model.classifier": 250,
}
RETIRED = re.compile(
    r"\b(anew|mend\w*|pictures?|shall|as_is|undisturbed|adopt\w*|relearn\w*|goes on|tells? whether|told"
    r"|cut-?offs?|ends? in the midst|in the midst)\b",
    re.IGNORECASE,
)


def modules() -> dict[str, Path]:
    paths = sorted(PACKAGE.rglob("*.py"))
    names = (".".join(("multilabel_pl", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in paths)
    return {name.removesuffix(".__init__"): path for name, path in zip(names, paths, strict=True)}


def layer_of(module: str) -> str:
    room = module.split(".")[1] if module.count(".") > 1 or (PACKAGE / module.split(".")[-1]).is_dir() else ""
    if module in ("multilabel_pl", "multilabel_pl.__main__"):
        return "entry"
    return room if room in ORDER else "ground"


def imports_of(module: str, path: Path) -> Iterator[str]:
    """Yields the modules of the package that a module imports, wherever in it; those for type checking alone too."""
    known = modules()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield from ([name] if name in known else [str(node.module)] if node.module in known else [])
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


ARROWS = [(module, found) for module, path in modules().items() for found in imports_of(module, path)]


def test_the_rooms_are_those_of_the_design() -> None:
    assert {layer_of(module) for module in modules()} == set(ORDER)


def test_imports_go_down() -> None:
    upwards = []
    for source, found in ARROWS:
        own, other = layer_of(source), layer_of(found)
        if other == own or own == "entry" or found == "multilabel_pl":  # its version
            continue
        if ORDER[other] >= ORDER[own]:
            upwards.append(f"{source} imports {found}")
    assert upwards == []


def test_there_is_no_circle() -> None:
    below = {module: {found for source, found in ARROWS if source == module} for module in modules()}
    below["multilabel_pl"] = set()  # which imports when asked
    while leaves := [module for module, found in below.items() if not found]:
        below = {module: found - set(leaves) for module, found in below.items() if found}
    assert below == {}


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_files_stay_short() -> None:
    lengths = {module: len(lines_of(path)) for module, path in modules().items()}
    assert {module: length for module, length in lengths.items() if length > MAX_LINES.get(module, 240)} == {}


def test_words_are_plain() -> None:
    found = {module: list(filter(RETIRED.search, lines_of(path))) for module, path in modules().items()}
    assert {module: lines for module, lines in found.items() if lines} == {}


def test_private_names_of_libraries_are_in_two_files() -> None:
    private = re.compile(r"\b(trainer|loop|loops|parser|action|fit_loop|strategy|checkpoint_io|schedule)\._[a-z]\w*")
    found = {module: list(filter(private.search, lines_of(path))) for module, path in modules().items()}
    for module in ("multilabel_pl.training.lightning_internals", "multilabel_pl.cli.parsers"):
        found.pop(module)
    assert {module: lines for module, lines in found.items() if lines} == {}
