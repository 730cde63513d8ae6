"""Lightning's textbook recipe: torchvision's MNIST with ToTensor, a module that logs its losses, a ModelCheckpoint."""

import gzip
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from lightning import pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, random_split
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from benchmarks.to_quality.common import (
    BATCH,
    DIGITS,
    EPSILON,
    LARGE_DIGIT,
    LEARNING_RATE,
    VALIDATION,
    Arguments,
    write_versions,
)
from benchmarks.to_quality.network import textbook_network, write_probabilities


class TextbookModule(pl.LightningModule):
    """A LightningModule as Lightning's introduction writes one: it logs the loss of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.network = textbook_network()

    def forward(self, images: Tensor) -> Tensor:
        """Scores images (B, 1, 28, 28)."""
        scores: Tensor = self.network(images)
        return scores

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Returns and logs the loss."""
        images, targets = batch
        loss = F.binary_cross_entropy_with_logits(self(images), targets)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Logs the loss."""
        images, targets = batch
        self.log("val_loss", F.binary_cross_entropy_with_logits(self(images), targets), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns Adam at the tutorial's settings."""
        return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE, eps=EPSILON)


def textbook_digits(archives: Path) -> Dataset[Any]:
    """Unpacks MNIST in the working folder, and returns it as torchvision reads it, with targets (11,)."""
    raw = Path("MNIST/raw")
    raw.mkdir(parents=True)
    for archive in archives.glob("*.gz"):
        (raw / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
    digits = torch.arange(DIGITS)
    targets = torch.column_stack([F.one_hot(digits), digits >= LARGE_DIGIT]).float()
    data: Dataset[Any] = MNIST(".", transform=ToTensor(), target_transform=lambda digit: targets[digit])
    return data


def main() -> None:
    """Trains."""
    arguments = Arguments.read()
    pl.seed_everything(arguments.seed)
    data = textbook_digits(arguments.archives)
    train, val = random_split(data, [1 - VALIDATION / 60_000, VALIDATION / 60_000])
    module = TextbookModule()
    saved = ModelCheckpoint(".", "epoch_{epoch}", save_top_k=-1, auto_insert_metric_name=False)
    trainer = pl.Trainer(max_epochs=arguments.epochs, callbacks=[saved])
    trainer.fit(module, DataLoader(train, batch_size=BATCH, shuffle=True), DataLoader(val, batch_size=BATCH))
    write_versions({"Lightning": lightning.__version__, "PyTorch": torch.__version__})
    write_probabilities(arguments.archives, module, key="state_dict")


if __name__ == "__main__":
    main()
