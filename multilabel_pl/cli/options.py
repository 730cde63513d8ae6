"""The classes of data that the command line knows by name, and their options."""

from argparse import Action
from functools import cache

from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser

from multilabel_pl.data.image_files import ImageFilesDataModule
from multilabel_pl.data.mnist import MNISTDataModule
from multilabel_pl.data.scenes import SceneDataModule
from multilabel_pl.data.streaming import StreamingDataModule
from multilabel_pl.data.table import TableDataModule
from multilabel_pl.training.lightning_internals import options_of

DATA_CLASSES: dict[str, type[LightningDataModule]] = {
    data.__name__: data
    for data in (MNISTDataModule, TableDataModule, SceneDataModule, StreamingDataModule, ImageFilesDataModule)
}


@cache
def data_options(name: str) -> dict[str, Action]:
    """Returns the options of a class of data, known by its name."""
    parser = LightningArgumentParser(add_help=False)
    parser.add_class_arguments(DATA_CLASSES[name], fail_untyped=False)
    return options_of(parser)
