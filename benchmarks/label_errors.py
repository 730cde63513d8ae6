"""How many wrong labels are found: `python -m benchmarks.label_errors`, ten minutes on two cores.

Of scenes, 3 % of all labels are flipped, in training, validation and test. A model learns from the wrong ones as well;
then cleanlab's suggestions on the test scenes are compared with what was flipped, and with a plain ranking of all
decisions by the probability of what is given. Needs the extra cleanlab.
"""

import argparse
from typing import NamedTuple

import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from benchmarks.printing import table
from benchmarks.spread import mean_and_spread
from multilabel_pl import MultiLabelClassifier, SceneDataModule, Trainer
from multilabel_pl.data.datasets import LabelledImages
from multilabel_pl.data.scenes import Scenes
from multilabel_pl.results.label_errors import find_label_errors

SHARE = 0.03
TOP = 300  # suggestions
NO_OUTPUT = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


class FlippedSceneDataModule(SceneDataModule):
    """Scenes of which some labels are wrong."""

    def _scenes(self, digits: LabelledImages, size: int, split: int) -> Scenes:
        scenes = super()._scenes(digits, size, split)
        generator = torch.Generator().manual_seed(split)
        self.flips = torch.rand(scenes.targets.shape, generator=generator) < SHARE  # of the scenes that came last
        scenes.targets = torch.where(self.flips, 1 - scenes.targets, scenes.targets)
        return scenes


class Found(NamedTuple):
    """Shares of flips among suggestions, and of suggestions among flips."""

    of_the_first: float
    of_the_first_by_probability: float
    precision: float
    recall: float


def find(train_size: int, test_size: int, epochs: int, seed: int) -> Found:
    """Trains, and compares what is suggested with what was flipped."""
    seed_everything(seed)
    data = FlippedSceneDataModule(train_size=train_size, val_size=500, test_size=test_size, scene_seed=seed)
    model = MultiLabelClassifier(network="conv_stack", lr=3e-3, lr_schedule="one_cycle")
    trainer = Trainer(max_epochs=epochs, logger=False, **NO_OUTPUT)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data)
    assert model.evaluation is not None
    evaluation = model.evaluation.cpu()
    suggested = find_label_errors(evaluation)
    right = data.flips[suggested.images, suggested.labels].float()
    given = evaluation.probabilities.where(evaluation.truth, 1 - evaluation.probabilities)
    plain = data.flips.flatten()[given.flatten().argsort()].float()
    shares: list[Tensor] = [right[:TOP].mean(), plain[:TOP].mean(), right.mean(), right.sum() / data.flips.sum()]
    return Found(*(share.item() for share in shares))


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--train_size", type=int, nargs="+", default=[1000, 10_000])
    return parser


def main() -> None:
    """Measures and prints."""
    options = parser().parse_args()
    rows = []
    for size in options.train_size:
        runs = [find(size, 10_000, options.epochs, seed) for seed in range(options.seeds)]
        rows.append([f"{size:,}", *(mean_and_spread(list(values)) for values in zip(*runs, strict=True))])
    header = ["training scenes", f"flips of the first {TOP}", "by probability alone", "of all suggestions"]
    print(table([*header, "suggestions of all flips"], rows))


if __name__ == "__main__":
    main()
