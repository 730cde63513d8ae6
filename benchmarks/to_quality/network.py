"""The tutorial's network in PyTorch, and what it says of the test images."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset, random_split

from benchmarks.to_quality.common import NUM_LABELS, VALIDATION, checkpoints, read


def textbook_network() -> nn.Sequential:
    """The tutorial's network as PyTorch's own tutorials write one."""
    dense = [nn.Flatten(), nn.Linear(32 * 14 * 14, 256), nn.ReLU(), nn.Linear(256, NUM_LABELS)]
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), *dense)


def split_in_memory(archives: Path) -> tuple[Dataset[tuple[torch.Tensor, ...]], Dataset[tuple[torch.Tensor, ...]]]:
    """Returns the images for training and for validation, as tensors in memory."""
    images, targets = (torch.from_numpy(array) for array in read(archives, "train"))
    data = TensorDataset(images.unsqueeze(1), targets)
    train, val = random_split(data, [len(data) - VALIDATION, VALIDATION])
    return train, val


@torch.inference_mode()
def write_probabilities(archives: Path, module: nn.Module, key: str | None = None) -> None:
    """Writes the probabilities of the test images (N, 11) beside each checkpoint.

    Args:
        archives: Folder of MNIST.
        module: What the weights belong to.
        key: Where in a checkpoint they are, if it has other things as well.
    """
    images = torch.from_numpy(read(archives, "t10k")[0]).unsqueeze(1)
    module.eval()
    for path in checkpoints(Path()):
        content = torch.load(path, weights_only=True)
        module.load_state_dict(content[key] if key else content)
        np.save(
            path.with_suffix(".npy"), torch.cat([module(batch) for batch in torch.split(images, 250)]).sigmoid().numpy()
        )
