"""What was probably meant by a command or an option that doesn't exist."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

from lightning.pytorch import Callback

from multilabel_pl.cli.commands import COMMANDS
from multilabel_pl.cli.options import DATA_CLASSES, data_options
from multilabel_pl.errors import InputError, MultipleInputError
from multilabel_pl.training.checkpointing import KEPT, BestCheckpoint

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


def check_options(asked: Iterable[str], known: Collection[str], data: str) -> None:
    """Checks that all options exist.

    Args:
        asked: Dotted names, from the command line and from configuration files.
        known: Names of the options of the command, those of the data aside.
        data: Name of the class of the data; the options of one that isn't the package's are not checked.

    Raises:
        MultipleInputError: If some don't exist, with what was probably meant by each.
    """
    own = [f"data.{name}" for name in data_options(data)] if data in DATA_CLASSES else []
    of_any = [f"data.{name}" for name in OF_ANY_DATA]
    candidates = [name for name in (*known, *own) if not name.endswith(".help")]
    mistakes = []
    for name in dict.fromkeys(name.replace("data.init_args.", "data.").removesuffix("+") for name in asked):
        if _exists(name, known) or (name.startswith("data.") and (not own or _exists(name, [*own, *of_any]))):
            continue
        last = name.rpartition(".")[2]
        classes = _classes_by_option()
        others = classes.get(last)
        if others and name.startswith("data."):
            remedy = "name the table too" if "TableDataModule" in others else f"choose --data {others[0]}"
            mistakes.append(f"--{name} is an option of {' and '.join(others)}, but the data are of {data}: {remedy}")
        elif meant := _likely(name, candidates):
            mistakes.append(f"--{name}: did you mean {' or '.join(f'--{option}' for option in meant)}?")
        elif close := get_close_matches(last, classes, 1, CLOSE):
            mistakes.append(f"--{name}: did you mean --data.{close[0]}, of {' or '.join(classes[close[0]])}?")
        else:
            mistakes.append(f"there is no option --{name}: --help lists them")
    if mistakes:
        raise MultipleInputError(mistakes)


def check_monitors(callbacks: Iterable[Callback], known: Collection[str]) -> None:
    """Checks that the metrics that callbacks monitor will be logged, unless a callback of the user's may log more.

    Args:
        callbacks: All of them.
        known: Names of the metrics of a fit.

    Raises:
        InputError: If there is no such metric.
    """
    if not all(type(callback).__module__.startswith(("lightning.", "multilabel_pl.")) for callback in callbacks):
        return
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in known:
            option = "--best_checkpoint.monitor" if isinstance(callback, BestCheckpoint) else type(callback).__name__
            meant = suggestion(monitor, known)
            raise InputError(f"{option}: no metric {monitor} is logged{meant} there are {', '.join(KEPT)} and others")


def _classes_by_option() -> dict[str, list[str]]:
    """Returns the classes of data that have an option, by its name."""
    classes: dict[str, list[str]] = {}
    for data in DATA_CLASSES:
        for option in data_options(data):
            classes.setdefault(option, []).append(data)
    return classes


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
    return same or usual or by_last.get(last, []) or close or close_last
