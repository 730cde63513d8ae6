"""PyTorch's textbook loop: tensors in memory, a TensorDataset, a DataLoader, Adam."""

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from benchmarks.to_quality.common import BATCH, EPSILON, LEARNING_RATE, Arguments, write_versions
from benchmarks.to_quality.network import split_in_memory, textbook_network, write_probabilities


def main() -> None:
    """Trains."""
    arguments = Arguments.read()
    torch.manual_seed(arguments.seed)
    train, val = split_in_memory(arguments.archives)
    network = textbook_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, eps=EPSILON)
    for epoch in range(arguments.epochs):
        network.train()
        for images, targets in DataLoader(train, batch_size=BATCH, shuffle=True):
            loss = F.binary_cross_entropy_with_logits(network(images), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        losses = []
        with torch.no_grad():
            for images, targets in DataLoader(val, batch_size=BATCH):
                losses.append(F.binary_cross_entropy_with_logits(network(images), targets).item())
        print(f"epoch {epoch}: val_loss {sum(losses) / len(losses):.4f}", flush=True)
        torch.save(network.state_dict(), f"epoch_{epoch}.pt")
    write_versions({"PyTorch": torch.__version__})
    write_probabilities(arguments.archives, network)


if __name__ == "__main__":
    main()
