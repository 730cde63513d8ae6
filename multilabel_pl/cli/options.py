"""Options: how all parsers read them, and those of the classes of data and of the optimizers known by name."""

from argparse import Action
from collections.abc import Sequence
from functools import cache

from jsonargparse import set_parsing_settings
from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.strategies import Strategy
from torch import nn

from multilabel_pl.data.image_files import ImageFilesDataModule
from multilabel_pl.data.mnist import MNISTDataModule
from multilabel_pl.data.scenes import SceneDataModule
from multilabel_pl.data.streaming import StreamingDataModule
from multilabel_pl.data.table import TableDataModule
from multilabel_pl.model.torch_optimizers import FIXED, OF_THE_MODEL, OPTIMIZERS
from multilabel_pl.training.lightning_internals import options_of

DATA_CLASSES: dict[str, type[LightningDataModule]] = {
    data.__name__: data
    for data in (MNISTDataModule, TableDataModule, SceneDataModule, StreamingDataModule, ImageFilesDataModule)
}


def configure_parsers(words: Sequence[str]) -> None:
    """Sets what all parsers have in common.

    Args:
        words: Those of the command line.
    """
    # Otherwise the help of --model.network would list all subclasses of Module, and completions those of Strategy.
    completes = any(word.startswith("--print_completion") for word in words)
    set_parsing_settings(
        add_print_completion_argument=True, subclasses_disabled=[nn.Module, *([Strategy] if completes else [])]
    )


@cache
def data_options(name: str) -> dict[str, Action]:
    """Returns the options of a class of data, known by its name."""
    parser = LightningArgumentParser(add_help=False)
    parser.add_class_arguments(DATA_CLASSES[name], fail_untyped=False)
    return options_of(parser)


def optimizer_options(name: str) -> dict[str, Action]:
    """Returns the options of an optimizer, known by its name, with torch's texts."""
    parser = LightningArgumentParser(add_help=False)
    parser.add_class_arguments(OPTIMIZERS[name], skip={*FIXED, *OF_THE_MODEL}, fail_untyped=False)
    return options_of(parser)
