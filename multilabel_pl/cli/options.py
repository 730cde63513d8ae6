"""Options: how all parsers read them, and descriptions of them."""

from collections.abc import Collection

from jsonargparse import ArgumentParser, set_parsing_settings
from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.strategies import Strategy
from torch import nn

from multilabel_pl.cli.description import DataClass, Description, Options, first_sentence
from multilabel_pl.cli.parsers import described
from multilabel_pl.data.image_files import ImageFilesDataModule
from multilabel_pl.data.mnist import MNISTDataModule
from multilabel_pl.data.scenes import SceneDataModule
from multilabel_pl.data.streaming import StreamingDataModule
from multilabel_pl.data.table import TableDataModule
from multilabel_pl.model.torch_optimizers import FIXED, OF_THE_MODEL, OPTIMIZERS

DATA_CLASSES: dict[str, type[LightningDataModule]] = {
    data.__name__: data
    for data in (MNISTDataModule, TableDataModule, SceneDataModule, StreamingDataModule, ImageFilesDataModule)
}


def configure_parsers(completes: bool) -> None:
    """Sets what all parsers have in common.

    Args:
        completes: Whether completions are asked for.
    """
    # Otherwise the help of --model.network would list all subclasses of Module, and completions those of Strategy.
    set_parsing_settings(
        add_print_completion_argument=True, subclasses_disabled=[nn.Module, *([Strategy] if completes else [])]
    )


def describe(command: str, parser: ArgumentParser) -> Description:
    """Describes all options but those of other commands, and keeps that for the next process.

    Args:
        command: The command.
        parser: Its parser.
    """
    known = Description.read()
    known.data = known.data or {
        name: DataClass(first_sentence(str(data.__doc__)), _options_of_class(data))
        for name, data in DATA_CLASSES.items()
    }
    known.optimizers = known.optimizers or {
        name: _options_of_class(optimizer, {*FIXED, *OF_THE_MODEL}) for name, optimizer in OPTIMIZERS.items()
    }
    known.remember(command, described(parser))
    return known


def _options_of_class(kind: type, skip: Collection[str] = ()) -> Options:
    parser = LightningArgumentParser(add_help=False)
    parser.add_class_arguments(kind, skip=set(skip), fail_untyped=False)
    return described(parser)
