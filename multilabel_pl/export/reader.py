"""A Python file that reads images for an exported program; all that it needs are NumPy and Pillow."""

import ast
import inspect
from pathlib import Path

from multilabel_pl import __version__
from multilabel_pl.atomic import atomic_path
from multilabel_pl.errors import InputError
from multilabel_pl.export.formats import FORMATS
from multilabel_pl.images import mnist_style, visible_pixels
from multilabel_pl.images.decoding import POSTSCRIPT
from multilabel_pl.images.pixels import LUMA
from multilabel_pl.images.preprocessing import sufficient_size
from multilabel_pl.task import Task

HEAD = '''"""Reads images as {program} takes them: `images = read("photo.jpg")[None]`; needs NumPy and Pillow alone.

Written by multilabel_pl {version}.
"""

'''
READ = '''
def read(file: str | os.PathLike[str] | BinaryIO) -> NDArray[np.uint8]:
    """Reads an image file of any format that Pillow decodes, upright, with {background} behind transparent pixels.

    Args:
        file: Its path, or the open file.

    Returns:
        uint8 {shape}.

    Raises:
        OSError, ValueError, SyntaxError or others of Pillow: If it can't be decoded{blank}.
    """
    with Image.open(file) as image:
        if image.format == {postscript!r}:
            raise ValueError("this format is a program, which is not run")
{draft}        pixels = visible_pixels(image, {background!r})
{rest}'''
DRAFT = """        image.draft(None, ({size}, {size}))  # a larger JPEG is shrunk while it is decoded
"""
COLOUR = """    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
"""
DIGIT = """    grey = pixels if pixels.ndim == 2 else (pixels @ np.float32({luma})).round().astype(np.uint8)
    return np.repeat(mnist_style(grey, {height}, {width})[..., None], 3, axis=2)
"""
IMPORTS = "import os\nfrom typing import BinaryIO\n"  # of READ


def reader_path(program: Path) -> Path:
    """Returns the path of the file that reads images for a program, whose name can be imported."""
    name = "".join(sign if f"_{sign}".isidentifier() else "_" for sign in program.stem)
    return program.with_name(f"read_for_{name}.py")


def check_reader(task: Task, program: Path) -> None:
    """Checks that the file beside a program can be written: programs whose names are alike share it.

    Raises:
        InputError: If it is there for another program, which takes images otherwise.
    """
    path = reader_path(program)
    if not path.is_file() or path.read_text(encoding="utf-8", errors="replace").endswith(_read_function(task)):
        return
    programs = sorted(file for file in program.parent.iterdir() if file.suffix in FORMATS and reader_path(file) == path)
    if others := [file for file in programs if file != program]:
        remedy = f"choose another output, or delete {others[0]}"
        raise InputError(f"{path} reads images for {others[0]}, but not as {program} would take them: {remedy}")


def write_reader(task: Task, program: Path) -> Path:
    """Writes the file beside a program, and returns its path.

    It decodes as `predict` does, and finds the digit on a page if the task's preprocessing is `mnist`; resizing is in
    the program. It is made of the very functions that `predict` uses.
    """
    modules = [visible_pixels, *([mnist_style] if task.preprocessing == "mnist" else [])]
    sources = [*map(inspect.getsource, modules), f'"""Reads."""\n{IMPORTS}{_read_function(task)}']
    path = reader_path(program)
    with atomic_path(path) as partial:
        partial.write_text(HEAD.format(program=program.name, version=__version__) + _joined(sources), encoding="utf-8")
    return path


def _read_function(task: Task) -> str:
    """Writes the function that the file ends with; all that depends on the task is in it."""
    is_digit = task.preprocessing == "mnist"
    _, height, width = task.image_shape
    return READ.format(
        background=task.background,
        shape=f"({height}, {width}, 3)" if is_digit else "(H, W, 3)",
        blank=", or the page is blank" * is_digit,
        postscript=POSTSCRIPT,
        draft="" if is_digit else DRAFT.format(size=sufficient_size(task)),
        rest=DIGIT.format(luma=LUMA, height=height, width=width) if is_digit else COLOUR,
    )


def _joined(sources: list[str]) -> str:
    """Joins the sources of modules: the imports of all, each once, and then what follows them."""
    imports: set[str] = set()
    bodies = []
    for source in sources:
        statements = ast.parse(source).body
        found = [part for part in statements if isinstance(part, ast.Import | ast.ImportFrom)]
        imports |= {ast.unparse(part) for part in found}
        lines = source.splitlines()[found[-1].end_lineno :]
        bodies.append("\n".join(lines).strip("\n"))
    return "\n".join([*sorted(imports), "", "\n\n\n".join(bodies), ""])
