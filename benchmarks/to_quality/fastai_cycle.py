"""fastai's `fit_one_cycle` at its defaults, on the same network: tensors in memory, its Learner, its Adam."""

import fastai
import fastai.callback.schedule  # gives Learner its fit_one_cycle
import torch
from fastai.callback.tracker import SaveModelCallback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat
from fastai.metrics import accuracy_multi
from fastai.torch_core import set_seed

from benchmarks.to_quality.common import BATCH, Arguments, write_versions
from benchmarks.to_quality.network import split_in_memory, textbook_network, write_probabilities


def main() -> None:
    """Trains; the highest learning rate is that of fastai's Learner, 0.001."""
    arguments = Arguments.read()
    set_seed(arguments.seed)
    loaders = DataLoaders.from_dsets(*split_in_memory(arguments.archives), bs=BATCH)
    network = textbook_network()
    learner = Learner(
        loaders, network, loss_func=BCEWithLogitsLossFlat(), metrics=accuracy_multi, path=".", model_dir="."
    )
    learner.fit_one_cycle(arguments.epochs, cbs=SaveModelCallback(every_epoch=True, fname="epoch"))
    write_versions({"fastai": fastai.__version__, "PyTorch": torch.__version__})
    write_probabilities(arguments.archives, network)


if __name__ == "__main__":
    main()
