"""What is said on the command line, before anything is made of it."""

import sys
from collections.abc import Collection
from typing import TypeGuard

from jsonargparse import Namespace
from lightning.pytorch.cli import ArgsType

from multilabel_pl.errors import InputError

POSITIVE = ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval")  # of the trainer's options
MAX_SEED = 2**32 - 1  # NumPy's
MAX_NUMBER = 2**62  # of whole numbers; torch has 64 bits


def are_words(args: ArgsType) -> TypeGuard[list[str] | None]:
    """Tells whether the words of a command line are given, or left to be those of this process."""
    return args is None or isinstance(args, list)


def without_data(args: list[str] | None, default: str, subcommands: Collection[str]) -> list[str]:
    """Puts the default data in the place of what is said of them, and leaves out the wish to print all options."""
    words = sys.argv[1:] if args is None else args
    if any(word.startswith("--data.help") for word in words):
        return words  # the question is answered at once
    rest, kept = iter(words), []
    for word in rest:
        if word == "--data" or word.startswith(("--data.", "--data=")):
            if "=" not in word:
                next(rest, None)
        elif not word.startswith("--print_config"):
            kept.append(word)
    in_a_config = ["--data", default]  # may be data that lack an option, which is among the words left out
    return kept + in_a_config if any(name in kept for name in subcommands) else kept


def check_groups(options: Namespace, names: Collection[str]) -> None:
    """Refuses a configuration file's `trainer: null` and the like, which jsonargparse lets pass.

    Args:
        options: Those of a subcommand.
        names: The groups of options that it may have.

    Raises:
        InputError: If there is something else in the place of options.
    """
    for name in names:
        if not isinstance(options.get(name, options), Namespace):
            raise InputError(f"--{name} must have options, got {options[name]}: leave it out, or name some")


def check_numbers(options: Namespace) -> None:
    """Refuses numbers that neither jsonargparse nor Lightning refuses, and that would not do.

    Raises:
        InputError: If a number is out of range.
    """
    for name, value in options.items():
        if isinstance(value, int) and abs(value) > MAX_NUMBER:
            raise InputError(f"--{name.replace('.init_args', '')} is too large: {value}")
    if not 0 <= (options.get("seed_everything") or 0) <= MAX_SEED:
        raise InputError(f"--seed_everything must be in [0, {MAX_SEED}], got {options.seed_everything}")
    for name in POSITIVE:
        value = options.trainer[name]
        if isinstance(value, int | float) and value <= 0:
            raise InputError(f"--trainer.{name} must be above 0, got {value}")
