"""Which epoch to keep: `python -m benchmarks.epochs`, half an hour on two cores.

Trains on four sets from two seeds each. After every epoch, test images are measured at the thresholds that the
validation images taught; they choose nothing. Prints, for each criterion on validation images, which epoch it keeps,
and what that one reaches on test images.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, seed_everything
from lightning.pytorch import Trainer as LightningTrainer

from benchmarks.printing import table
from benchmarks.spread import mean_and_spread
from multilabel_pl import MNISTDataModule, MultiLabelClassifier, SceneDataModule
from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.training.trainer import Trainer

SEEDS = (0, 1)
# Each with the sign that makes more of it better.
CRITERIA = {"val_loss": -1, "val_map": 1, "val_f1_macro": 1, "val_f1_micro": 1, "val_exact_match": 1, "last": 1}
METRICS = {
    "exact_match": "exact match",
    "f1_macro": "macro F1",
    "f1_micro": "micro F1",
    "map": "mean average precision",
}

Epoch = dict[str, float]  # metrics by name


@dataclass(frozen=True)
class Training:
    """How a model is trained."""

    data: Callable[[], LabelledDataModule]
    epochs: int
    model: dict[str, Any]


SMALL = {"network": "conv_stack", "lr": 0.004, "lr_schedule": "one_cycle"}
TRAININGS = {
    "MNIST": Training(MNISTDataModule, 10, {}),
    "scenes": Training(lambda: SceneDataModule(batch_size=128), 4, {**SMALL, "lr": 0.008}),
    # As configs/table.yaml trains on a table of 3,000 images, of which 300 are for validation.
    "3,000 scenes": Training(lambda: SceneDataModule(train_size=2400, val_size=300, batch_size=32), 20, SMALL),
    "3,000 scenes, constant rate": Training(
        lambda: SceneDataModule(train_size=2400, val_size=300, batch_size=32), 40, {"network": "conv_stack"}
    ),
}


class Recorder(Callback):
    """Keeps the metrics of every epoch, of validation and of test images."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []

    def on_validation_end(self, trainer: LightningTrainer, pl_module: LightningModule) -> None:
        """Measures the test images, at the thresholds just learned."""
        assert isinstance(pl_module, MultiLabelClassifier)
        assert pl_module.evaluation is not None
        data: LabelledDataModule = trainer.datamodule  # type: ignore[attr-defined] # set, but undeclared
        data.setup("test")
        with torch.inference_mode():
            outputs = [(pl_module(images), targets) for images, targets in data.test_dataloader()]
        logits, targets = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        test = Evaluation(pl_module.decision, logits, targets, pl_module.loss(logits, targets))
        val, tested = pl_module.evaluation.metrics, test.metrics
        self.epochs.append(
            {f"val_{name}": val[name].item() for name in ("loss", *METRICS)}
            | {name: tested[name].item() for name in METRICS}
            | {"last": float(len(self.epochs))}
        )


def train(name: str, seed: int, root: Path) -> list[Epoch]:
    """Returns what each epoch reached; trains unless that has been done before."""
    path = root / f"{name}, seed {seed}.json"
    if path.is_file():
        kept: list[Epoch] = json.loads(path.read_text())
        return kept
    training, recorder = TRAININGS[name], Recorder()
    seed_everything(seed)
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=training.epochs, callbacks=[recorder], num_sanity_val_steps=0, **quiet)
    trainer.fit(MultiLabelClassifier(**training.model), datamodule=training.data())
    root.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recorder.epochs, indent=1))
    return recorder.epochs


def kept(epochs: Sequence[Epoch], criterion: str) -> int:
    """Returns the first epoch that is best by a criterion."""
    return max(range(len(epochs)), key=lambda i: CRITERIA[criterion] * epochs[i][criterion])


def reached(runs: Sequence[Sequence[Epoch]], criterion: str) -> list[str]:
    """Lays out the epochs that a criterion keeps, and what they reach in each run, as a row of a table."""
    chosen = [kept(run, criterion) for run in runs]
    cells = [" ".join(f"{run[i][metric]:.4f}" for run, i in zip(runs, chosen, strict=True)) for metric in METRICS]
    return [_named(criterion), " ".join(str(i + 1) for i in chosen), *cells]


def lost(runs: Sequence[Sequence[Epoch]], criterion: str) -> list[str]:
    """Lays out what a criterion loses against the best epoch of each run, over all runs, as a row."""
    cells = []
    for metric in METRICS:
        losses = [max(epoch[metric] for epoch in run) - run[kept(run, criterion)][metric] for run in runs]
        cells.append(mean_and_spread(losses))
    return [_named(criterion), *cells]


def _named(criterion: str) -> str:
    return "the last epoch" if criterion == "last" else f"`{criterion}`"


def parser() -> argparse.ArgumentParser:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/epochs"), help="folder of the results")
    return parser


def main() -> None:
    """Trains and prints."""
    root = parser().parse_args().root
    runs = {name: [train(name, seed, root) for seed in SEEDS] for name in TRAININGS}
    for name, each in runs.items():
        rows = [reached(each, criterion) for criterion in CRITERIA]
        print("\n" + table([name, "epochs kept", *METRICS.values()], rows))
    everything = [run for each in runs.values() for run in each]
    print("\n" + table(["kept by", *METRICS.values()], [lost(everything, criterion) for criterion in CRITERIA]))


if __name__ == "__main__":
    main()
