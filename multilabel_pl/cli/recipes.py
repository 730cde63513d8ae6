"""Recipes: the configuration files that come with the package, found by name."""

from functools import cache
from pathlib import Path

from multilabel_pl.cli.suggestions import suggestion
from multilabel_pl.errors import InputError

_PACKAGE = Path(__file__).parents[1]


@cache
def recipes() -> dict[str, Path]:
    """Returns the recipes by name: of the wheel, or, beside its source, of the repository."""
    folder = next((place for place in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if place.is_dir()), _PACKAGE)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(name: str) -> str:
    """Returns the path of a configuration file, or of the recipe that has this name.

    Raises:
        InputError: If there is neither.
    """
    if name and (Path(name).exists() or name == "null"):
        return name  # what is no file, the parser refuses
    if name in recipes():
        return str(recipes()[name])
    known = f"recipes are {', '.join(recipes())}"
    if not name:
        raise InputError(f"--config takes a file or a recipe; {known}")
    raise InputError(
        f"there is no file {name}, and no recipe of this name{suggestion(Path(name).stem, recipes())} {known}"
    )
