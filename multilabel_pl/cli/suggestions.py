"""What was probably meant by a command or an option that doesn't exist."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches

from multilabel_pl.cli.commands import COMMANDS, OF_TABLES
from multilabel_pl.cli.description import DataClass
from multilabel_pl.errors import MultipleInputError

# What other programs call it.
OTHER_COMMANDS = {
    "train": "fit",
    "training": "fit",
    "eval": "test",
    "evaluate": "test",
    "val": "validate",
    "infer": "predict",
    "inference": "predict",
    "tag": "predict",
    "shard": "optimize",
    "calibrate": "tune",
    "app": "demo",
    "api": "serve",
    "diff": "compare",
    "server": "serve",
}
OTHER_OPTIONS = {
    "amp": ["trainer.precision"],
    "arch": ["model.network"],
    "backbone": ["model.network"],
    "checkpoint": ["ckpt_path"],
    "ckpt": ["ckpt_path"],
    "csv": ["data.table"],
    "dataset": ["data"],
    "device": ["trainer.accelerator", "trainer.devices"],
    "epochs": ["trainer.max_epochs"],
    "fp16": ["trainer.precision"],
    "gpus": ["trainer.devices"],
    "image": ["data.path"],
    "img_size": ["data.image_size"],
    "imgsz": ["data.image_size"],
    "learning_rate": ["model.lr"],
    "lr_scheduler": ["model.lr_schedule", "model.lr"],
    "max_epoch": ["trainer.max_epochs"],
    "num_epochs": ["trainer.max_epochs"],
    "optim": ["model.optimizer"],
    "optimizer": ["model.optimizer"],
    "out": ["output"],
    "output_dir": ["trainer.default_root_dir"],
    "resume": ["ckpt_path"],
    "root": ["trainer.default_root_dir"],
    "scheduler": ["model.lr_schedule", "model.lr"],
    "seed": ["seed_everything"],
    "wd": ["model.weight_decay"],
    "weights": ["ckpt_path"],
    "workers": ["data.num_workers"],
}
OF_ANY_DATA = ("class_path", "init_args", "dict_kwargs", "help")
CLOSE = 0.75  # of difflib's ratio


def suggestion(name: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """Returns the middle of a message about an unknown name: what was probably meant, if that can be said.

    Args:
        name: What is unknown.
        known: What is like it.
        others: What to name instead of some of these.
    """
    close = get_close_matches(name, list(known), n=1)
    return f": did you mean {(others or {}).get(close[0], close[0])}?" if close else ";"


def suggest_command(name: str) -> str:
    """Returns the end of a message about an unknown command."""
    return f"{suggestion(name, [*COMMANDS, *OTHER_COMMANDS], OTHER_COMMANDS)} there are {', '.join(COMMANDS)}"


def check_options(
    asked: Collection[str],
    known: Collection[str],
    classes: Mapping[str, DataClass],
    data: str | None,
    is_sure: bool = True,
) -> None:
    """Checks that all options exist.

    Args:
        asked: Dotted names, from the command line and from configuration files.
        known: Names of the options of the command, those of the data aside.
        classes: The classes of data by name.
        data: Name of the class of the data; the options of one that is not among these are not checked.
        is_sure: Whether the data are of that class; otherwise a mistake must be one whatever their class.

    Raises:
        MultipleInputError: If some don't exist, with what was probably meant by each.
    """
    mistakes = list(_mistakes(asked, known, classes, data))
    others = () if is_sure else (None, *classes)
    if mistakes and all(list(_mistakes(asked, known, classes, other)) == mistakes for other in others):
        raise MultipleInputError(mistakes)


def _mistakes(
    asked: Iterable[str], known: Collection[str], classes: Mapping[str, DataClass], data: str | None
) -> Iterator[str]:
    own = [f"data.{name}" for name in classes[data].options] if data and data in classes else []
    of_any = [f"data.{name}" for name in OF_ANY_DATA]
    candidates = [name for name in (*known, *own) if not name.endswith(".help")]
    having = _classes_by_option(classes)
    for name in dict.fromkeys(name.removesuffix("+") for name in asked):
        if _exists(name, known) or (name.startswith("data.") and (not own or _exists(name, [*own, *of_any]))):
            continue
        last = name.rpartition(".")[2]
        others = having.get(last)
        if others and name.startswith("data."):
            remedy = "name the table too" if OF_TABLES in others else f"choose --data {others[0]}"
            yield f"--{name} is an option of {' and '.join(others)}, but the data are of {data}: {remedy}"
        elif meant := _likely(name, candidates):
            yield f"--{name}: did you mean {' or '.join(f'--{option}' for option in meant)}?"
        elif close := get_close_matches(last, having, 1, CLOSE):
            yield f"--{name}: did you mean --data.{close[0]}, of {' or '.join(having[close[0]])}?"
        else:
            yield f"there is no option --{name}: --help lists them"


def _classes_by_option(classes: Mapping[str, DataClass]) -> dict[str, list[str]]:
    """Returns the classes of data that have an option, by its name."""
    having: dict[str, list[str]] = {}
    for name, data in classes.items():
        for option in data.options:
            having.setdefault(option, []).append(name)
    return having


def _exists(name: str, known: Collection[str]) -> bool:
    """Whether it is an option, or one within an option that takes a class, such as a callback's."""
    parts = name.split(".")
    return name in known or any(".".join(parts[:length]) in known for length in range(2, len(parts)))


def _likely(name: str, candidates: Collection[str]) -> list[str]:
    """Returns the options that a name most probably stands for."""
    plain = name.replace("-", "_")
    last = plain.rpartition(".")[2]
    by_last: dict[str, list[str]] = {}
    for candidate in candidates:
        by_last.setdefault(candidate.rpartition(".")[2], []).append(candidate)
    close = get_close_matches(plain, candidates, 1, CLOSE)
    close_last = [found for match in get_close_matches(last, by_last, 1, CLOSE) for found in by_last[match]]
    usual = [candidate for candidate in OTHER_OPTIONS.get(last, ()) if candidate in candidates]
    same = [plain] if plain in candidates else []
    begun = [name for name in candidates if name.startswith(plain) or name.rpartition(".")[2].startswith(last)]
    begun = begun if len(begun) == 1 else []
    return same or usual or by_last.get(last, []) or begun or close or close_last
