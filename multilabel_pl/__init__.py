"""Multi-label image classification with PyTorch Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multilabel_pl.data.image_files import ImageFilesDataModule as ImageFilesDataModule
    from multilabel_pl.data.mnist import MNISTDataModule as MNISTDataModule
    from multilabel_pl.data.scenes import SceneDataModule as SceneDataModule
    from multilabel_pl.data.streaming import StreamingDataModule as StreamingDataModule
    from multilabel_pl.data.table import TableDataModule as TableDataModule
    from multilabel_pl.model.classifier import MultiLabelClassifier as MultiLabelClassifier
    from multilabel_pl.task import Task as Task
    from multilabel_pl.training.trainer import Trainer as Trainer

__version__ = "0.1.0"

# Imported when first used: Lightning takes seconds, and `--version` should not.
_HOMES = {
    "ImageFilesDataModule": "multilabel_pl.data.image_files",
    "MNISTDataModule": "multilabel_pl.data.mnist",
    "MultiLabelClassifier": "multilabel_pl.model.classifier",
    "SceneDataModule": "multilabel_pl.data.scenes",
    "StreamingDataModule": "multilabel_pl.data.streaming",
    "TableDataModule": "multilabel_pl.data.table",
    "Task": "multilabel_pl.task",
    "Trainer": "multilabel_pl.training.trainer",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
