"""Multi-label image classification with PyTorch Lightning."""

# Nothing heavy may be imported here: `--version` answers at once because of it.
__version__ = "0.1.0"
