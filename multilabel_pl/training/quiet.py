"""Filters for messages of libraries that don't apply here, or that say what the program says itself."""

import logging
import re
import sys
import warnings
from typing import Any

NOISE = (  # warnings
    "does not have many workers",  # the images are in memory: worker processes would only slow their batches down
    "exists and is not empty",  # of the run's folder, where loggers and checkpoints write together
    "Total length of `list` across ranks is zero",  # a fit without validation was asked for
    "is smaller than the logging interval",  # which is shortened then
    "Using `DistributedSampler` with the dataloaders",  # no image counts twice, in our metrics
    r"sync_dist=True\)` when logging on epoch level",  # each process has the metrics of all images
    "torch.distributed.nn.functional.all_gather is deprecated",  # Lightning's own use of torch
    "callbacks used to create the checkpoint",  # an evaluation saves no checkpoints
    "your dataloader is not resumable",  # its order knows the progress within the epoch
    r"Glyph \d+ .* missing from font",  # a figure with a file name that matplotlib can't write
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    "`weights_only` was not set",  # checkpoints are read without trust
    "No complete tensor found in the group",  # from an export, which is checked afterwards
)
CHATTER = re.compile(  # of Lightning's log
    r"Seed set to|(GPU|TPU|HPU) available|Tip: |`Trainer.fit` stopped: `max_epochs"
    r"|Loading `train_dataloader` to estimate"
    r"|Restor(ing states|ed all states)|Loaded model weights|LOCAL_RANK|Using default `ModelCheckpoint`"
    r"|`weights_only` was not set"
)


def filter_messages() -> None:
    """Filters warnings, and what Lightning's own handlers write."""
    for message in NOISE:
        warnings.filterwarnings("ignore", message=f".*{message}")
    for handler in _handlers():
        handler.addFilter(_is_worth_reading)
    # About operators that no network here has, and about a cache that a system's service has no home for.
    for name in ("torch.onnx", "onnxscript", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)


def log_to_stdout() -> None:
    """Sends Lightning's log to standard output, and keeps an output that is closed, as by `head`, from tracebacks."""
    for handler in _handlers():
        handler.stream = sys.stdout
    logging.raiseExceptions = False


def _handlers() -> list[logging.StreamHandler[Any]]:
    loggers = map(logging.getLogger, ("lightning", "lightning.fabric", "lightning.pytorch"))
    return [handler for logger in loggers for handler in logger.handlers if type(handler) is logging.StreamHandler]


def _is_worth_reading(record: logging.LogRecord) -> bool:
    return CHATTER.search(record.getMessage()) is None
