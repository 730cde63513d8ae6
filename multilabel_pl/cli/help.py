"""The help of a command: its own options, most used first, on a screen or two."""

import shutil
import textwrap
from collections.abc import Iterator, Mapping

from multilabel_pl.cli.commands import COMMANDS, OF_FILES, OF_MNIST, OF_TABLES, program
from multilabel_pl.cli.description import DataClass, Description, Option, Options, prefixed
from multilabel_pl.cli.request import Request, class_name
from multilabel_pl.errors import check_choice

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
USUAL_DATA = {"fit": OF_MNIST, "predict": OF_FILES, "optimize": OF_TABLES}
MORE = {"--data.help [CLASS]": "the classes of data, or the options of one", "--help-all": "all of Lightning's too"}
MAX_WIDTH, COLUMN = 110, 32


def help_for(request: Request, known: Description) -> str | None:
    """Returns the help that is asked for.

    Args:
        request: What is asked for.
        known: The options, those of the command among them.

    Returns:
        The text; None if no help is asked for, or it is the parser's to give.
    """
    command = str(request.command)
    if request.help in ("h", "help"):
        data = request.data if request.data in known.data else USUAL_DATA.get(command)
        return command_help(command, known, data)
    if request.help == "data.help":
        name = class_name(request.get("data.help") or "")
        return data_help(name or None, known.data) if not name or name in known.data else None
    if request.help == "model.optimizer.help":
        return optimizer_help(request.get("model.optimizer.help"), known.optimizers)
    return None


def command_help(command: str, known: Description, data: str | None) -> str:
    """Returns the help of a command.

    Args:
        command: Its name.
        known: All options.
        data: The class whose options are listed, unless the command takes no data; none if not given.
    """
    about = COMMANDS[command]
    column = max(map(len, about.examples)) + 2
    lines = [f"usage: {program()} {command} {about.operands} [options]", "", about.summary, "", "examples:"]
    lines += [f"  {example:{column}}{meaning}" for example, meaning in about.examples.items()]
    options = known.commands[command]
    listed = {name: option for name, option in options.items() if _is_listed(name, option, command)}
    first = {name: listed.pop(name) for name in FIRST if name in listed and command == "fit"}
    groups = {
        "most used": first,
        "options": {name: option for name, option in listed.items() if "." not in name},
        "model": {name: option for name, option in listed.items() if name.startswith("model.")},
        f"data ({data})": prefixed("data", known.data[data].options) if data else {},
        "trainer and checkpoints": {n: o for n, o in listed.items() if n.startswith(("trainer.", "best_"))},
    }
    for title, members in groups.items():
        if members:
            lines += ["", f"{title}:", *_entries(members)]
    if about.supplied:  # it is a method of Lightning's trainer
        lines += ["", "more:", *(f"  {name:{COLUMN - 2}}{text}" for name, text in MORE.items())]
    return "\n".join(lines)


def data_help(name: str | None, classes: Mapping[str, DataClass]) -> str:
    """Returns the help of one of the classes of data or, without a name, of all of them."""
    if name is not None:
        return "\n".join([f"{name}: {classes[name].summary}", "", *_entries(prefixed("data", classes[name].options))])
    lines = [f"  {name:{COLUMN - 2}}{data.summary}" for name, data in classes.items()]
    more = "--data.help CLASS lists the options of one; a class of your own is named by its path, module.Class."
    return "\n".join(["classes for --data:", *lines, "", more])


def optimizer_help(name: str | None, optimizers: Mapping[str, Options]) -> str:
    """Returns the help of an optimizer, or, without a name, of all of them.

    Raises:
        InputError: If there is none of this name.
    """
    if name is None:
        more = "--model.optimizer.help NAME lists the options of one, beside --model.lr and --model.weight_decay."
        return f"optimizers of torch.optim for --model.optimizer: {', '.join(optimizers)}\n\n{more}"
    check_choice("--model.optimizer.help", name, optimizers)
    entries = _entries(prefixed("model.optimizer", optimizers[name]))
    return "\n".join([f"{name} of torch.optim, beside --model.lr and --model.weight_decay:", "", *entries])


def _is_listed(name: str, option: Option, command: str) -> bool:
    if name in HIDDEN or name == "data" or (command != "fit" and name.startswith(OF_FIT)):
        return False
    return name in TEXTS or (option.is_plain and ("." not in name or name.startswith("model.")))


def _entries(options: Options) -> Iterator[str]:
    """Yields the lines of options: of each its name, and what it is, with its default."""
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH) - COLUMN
    for name, option in options.items():
        text = TEXTS.get(name) or option.text
        if option.default is not None and "(default: " not in text:  # as in torch's own
            text += f" (default: {option.default})"
        value = f"{{{','.join(option.choices)}}}" if option.choices else "…"
        head, texts = f"  --{name} {value}", textwrap.wrap(text, max(width, COLUMN))
        if len(head) >= COLUMN:
            yield head
            head = ""
        yield f"{head:{COLUMN}}{texts[0]}"
        yield from (" " * COLUMN + text for text in texts[1:])
