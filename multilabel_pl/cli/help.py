"""The help of a command: its own options, most used first, on a screen or two."""

import shutil
import textwrap
from argparse import SUPPRESS, Action
from collections.abc import Iterator, Mapping

from multilabel_pl.cli.commands import COMMANDS, program
from multilabel_pl.cli.options import DATA_CLASSES, data_options, optimizer_options
from multilabel_pl.cli.request import Request
from multilabel_pl.errors import check_choice
from multilabel_pl.model.torch_optimizers import OPTIMIZERS

# Of the options that Lightning declares, these are listed; the others are behind --help-all.
TEXTS = {
    "config": "A recipe's name, or a YAML file of options; `--config` alone lists the recipes.",
    "ckpt_path": "`best` or `last` of the newest run, or the path of a checkpoint.",
    "verbose": "Whether to print the report.",
    "trainer.max_epochs": "Epochs to train.",
    "trainer.max_time": "Time to train at most, as DD:HH:MM:SS.",
    "trainer.accelerator": "`cpu`, `gpu`, `mps`, or `auto` for the best there is.",
    "trainer.devices": "How many devices, or which.",
    "trainer.precision": "Such as `bf16-mixed`, for speed on GPUs.",
    "trainer.default_root_dir": "Folder of the runs.",
    "best_checkpoint.monitor": "The metric that chooses the best epoch, such as `val_map` or `val_loss`.",
    "seed_everything": "Seed of the weights and of the order of the images.",
}
FIRST = ("model.head", "model.network", "model.pretrained", "model.threshold", "trainer.max_epochs", "ckpt_path")
OF_FIT = ("model.", "trainer.max_", "best_checkpoint.", "seed_everything")  # beginnings of names
HIDDEN = ("help", "print_config", "weights_only")
USUAL_DATA = {"fit": "MNISTDataModule", "predict": "ImageFilesDataModule", "optimize": "TableDataModule"}
MORE = {"--data.help [CLASS]": "the classes of data, or the options of one", "--help-all": "all of Lightning's too"}
MAX_WIDTH, COLUMN = 110, 32


def help_for(request: Request, options: Mapping[str, Action], data: str) -> str | None:
    """Returns the help that is asked for.

    Args:
        request: What is asked for.
        options: The options of the command by name, those of the data aside.
        data: Name of the class of the data; empty if none is named.

    Returns:
        The text; None if no help is asked for, or it is the parser's to give.
    """
    if request.help in ("h", "help"):
        command = str(request.command)
        return command_help(command, options, data if data in DATA_CLASSES else USUAL_DATA.get(command))
    if request.help == "data.help":
        name = (request.get("data.help") or "").rpartition(".")[2]
        return data_help(name or None) if not name or name in DATA_CLASSES else None
    if request.help == "model.optimizer.help":
        return optimizer_help(request.get("model.optimizer.help"))
    return None


def command_help(command: str, options: Mapping[str, Action], data: str | None) -> str:
    """Returns the help of a command.

    Args:
        command: Its name.
        options: Its options by name, those of the data aside.
        data: The class whose options are listed; none if not given.
    """
    about = COMMANDS[command]
    column = max(map(len, about.examples)) + 2
    lines = [f"usage: {program()} {command} {about.operands} [options]", "", about.summary, "", "examples:"]
    lines += [f"  {example:{column}}{meaning}" for example, meaning in about.examples.items()]
    listed = {name: action for name, action in options.items() if _is_listed(name, action, command)}
    first = {name: listed.pop(name) for name in FIRST if name in listed and command == "fit"}
    groups = {
        "most used": first,
        "options": {name: action for name, action in listed.items() if "." not in name},
        "model": {name: action for name, action in listed.items() if name.startswith("model.")},
        f"data ({data})": {f"data.{name}": action for name, action in data_options(data).items()} if data else {},
        "trainer and checkpoints": {n: a for n, a in listed.items() if n.startswith(("trainer.", "best_"))},
    }
    for title, members in groups.items():
        if members:
            lines += ["", f"{title}:", *(line for name, action in members.items() for line in _entry(name, action))]
    if about.supplied:  # it is a method of Lightning's trainer
        lines += ["", "more:", *(f"  {name:{COLUMN - 2}}{text}" for name, text in MORE.items())]
    return "\n".join(lines)


def data_help(name: str | None) -> str:
    """Returns the help of a class of data of this package, or, without a name, of all of them."""
    if name is not None:
        entries = [line for option, action in data_options(name).items() for line in _entry(f"data.{option}", action)]
        return "\n".join([f"{name}: {_first_sentence(str(DATA_CLASSES[name].__doc__))}", "", *entries])
    lines = [f"  {name:{COLUMN - 2}}{_first_sentence(str(data.__doc__))}" for name, data in DATA_CLASSES.items()]
    more = "--data.help CLASS lists the options of one; a class of your own is named by its path, module.Class."
    return "\n".join(["classes for --data:", *lines, "", more])


def optimizer_help(name: str | None) -> str:
    """Returns the help of an optimizer, or, without a name, of all of them.

    Raises:
        InputError: If there is none of this name.
    """
    if name is None:
        more = "--model.optimizer.help NAME lists the options of one, beside --model.lr and --model.weight_decay."
        return f"optimizers of torch.optim for --model.optimizer: {', '.join(OPTIMIZERS)}\n\n{more}"
    check_choice("--model.optimizer.help", name, OPTIMIZERS)
    options = optimizer_options(name).items()
    entries = [line for option, action in options for line in _entry(f"model.optimizer.{option}", action)]
    return "\n".join([f"{name} of torch.optim, beside --model.lr and --model.weight_decay:", "", *entries])


def _is_listed(name: str, action: Action, command: str) -> bool:
    if name in HIDDEN or name == "data" or (command != "fit" and name.startswith(OF_FIT)):
        return False
    return name in TEXTS or (action.default != SUPPRESS and ("." not in name or name.startswith("model.")))


def _entry(name: str, action: Action) -> Iterator[str]:
    """Yields the lines of an option: its name, and the first sentence of what it is, with its default."""
    value = action.metavar if str(action.metavar).startswith("{") else "…"
    text = TEXTS.get(name) or _first_sentence(str(action.help))
    if action.default not in (None, False, SUPPRESS) and "(default: " not in text:  # as in torch's own
        text += f" (default: {action.default})"
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH) - COLUMN
    head, texts = f"  --{name} {value}", textwrap.wrap(text, max(width, COLUMN))
    if len(head) >= COLUMN:
        yield head
        head = ""
    yield f"{head:{COLUMN}}{texts[0]}"
    yield from (" " * COLUMN + text for text in texts[1:])


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].removesuffix(".") + "."
