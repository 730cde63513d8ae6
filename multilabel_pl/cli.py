"""The command line: Lightning's, with this package's defaults."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from multilabel_pl import __version__
from multilabel_pl.data.mnist import MNISTDataModule
from multilabel_pl.errors import InputError
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.runs import BEST, LAST, find_checkpoint, next_version, read_hyperparameters, run_folder
from multilabel_pl.trainer import Trainer

RUNS = "runs"
EPOCHS = 10
SEED = 0
STEPS_PER_BAR_UPDATE = 50  # as often as Lightning logs the loss


class CLI(LightningCLI):
    """LightningCLI for a MultiLabelClassifier on any of the package's data modules.

    Args:
        args: The words of the command line; those of this process if not given.
    """

    def __init__(self, args: ArgsType = None) -> None:
        super().__init__(
            MultiLabelClassifier,  # the data class is chosen with --data
            trainer_class=Trainer,
            trainer_defaults={"default_root_dir": RUNS, "max_epochs": EPOCHS, "num_sanity_val_steps": 0},
            seed_everything_default=SEED,
            parser_kwargs={"prog": "multilabel_pl", "version": __version__, "exit_on_error": False},
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,  # the network, and so its parameters, come after the data is known
            load_from_checkpoint_support=False,  # the hyperparameters are plain values already
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Sets the default data and adds the two checkpoints of a run."""
        parser.set_defaults({"data": {"class_path": f"{MNISTDataModule.__module__}.{MNISTDataModule.__name__}"}})
        # Two callbacks, since ModelCheckpoint(save_last=True) writes last.ckpt only when the monitored value improves.
        for name in (BEST, LAST):
            parser.add_class_arguments(ModelCheckpoint, f"{name}_checkpoint")
            parser.set_defaults(
                {f"{name}_checkpoint.filename": name, f"{name}_checkpoint.enable_version_counter": False}
            )
        parser.set_defaults({"best_checkpoint.monitor": "val_loss"})

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Names the methods of Trainer that are subcommands, each with the parameters that are no options."""
        skipped = LightningCLI.subcommands()
        return {**skipped, "predict": {*skipped["predict"], "return_predictions"}}

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses the command line, and finds the file of the checkpoint."""
        super().parse_arguments(parser, args)
        subcommand = self.config.subcommand
        options = self.config[subcommand]
        self.given = parser.parse_args(args, defaults=False)[subcommand]  # without the defaults
        if options.ckpt_path is None and subcommand != "fit":
            options.ckpt_path = BEST
        if options.ckpt_path in (BEST, LAST):
            options.ckpt_path = str(find_checkpoint(Path(options.trainer.default_root_dir), options.ckpt_path))
            print(f"using {options.ckpt_path}")
        if options.ckpt_path is not None:
            self._notice_overridden(options.ckpt_path)

    def _notice_overridden(self, ckpt_path: str) -> None:
        """Says which of the model's options the checkpoint's hyperparameters replace, as Lightning has them do."""
        hyperparameters = read_hyperparameters(Path(ckpt_path))
        given = vars(self.given.get("model", Namespace()))
        ignored = [
            f"--model.{name} {value} (it has {hyperparameters[name]})"
            for name, value in given.items()
            if name in hyperparameters and value != hyperparameters[name]
        ]
        if ignored:
            print(f"note: {ckpt_path} keeps its own values, ignoring {', '.join(ignored)}", file=sys.stderr)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Makes the trainer; `fit` gets a folder for its logs and checkpoints, and the other subcommands make none."""
        options = self._get(self.config_init, "trainer")
        callbacks = list(options.callbacks or [])
        if options.enable_progress_bar is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
            # Not Rich's, which Lightning prefers where it is installed: it is lost in redirected output.
            callbacks.append(TQDMProgressBar(refresh_rate=STEPS_PER_BAR_UPDATE, leave=True))
        logger = options.logger
        if self.subcommand == "fit":
            root = Path(options.default_root_dir)
            version = next_version(root)
            if options.enable_checkpointing is not False:
                callbacks += self._checkpoints(run_folder(root, version))
            if logger in (None, True):
                place: dict[str, Any] = {"save_dir": root, "name": "", "version": version}
                logger = [TensorBoardLogger(**place, default_hp_metric=False), CSVLogger(**place)]
        else:
            self.save_config_callback = None
            logger = logger or False
            for message in ("callbacks used to create the checkpoint", "The dirpath has changed"):
                warnings.filterwarnings("ignore", message=f".*{message}")  # an evaluation saves no checkpoints
        return super().instantiate_trainer(callbacks=callbacks, logger=logger, **kwargs)

    def _checkpoints(self, folder: Path) -> list[ModelCheckpoint]:
        names = [BEST, LAST] if self.datamodule.has_validation else [LAST]
        checkpoints = [self._get(self.config_init, f"{name}_checkpoint") for name in names]
        for checkpoint in checkpoints:
            checkpoint.dirpath = checkpoint.dirpath or str(folder)
        return checkpoints

    def after_fit(self) -> None:
        """Says where the checkpoint is and how to test it."""
        checkpoints = [c for c in self.trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
        written = [c.best_model_path for c in checkpoints if c.best_model_path]
        if not written or not self.trainer.is_global_zero:
            return
        config = f" --config {Path(written[0]).with_name('config.yaml')}" if "data" in self.given else ""
        print(f"\ntrained: {written[0]}")
        print(f"test it: python -m multilabel_pl test{config} --ckpt_path {written[0]}")


def _quiet_lightning() -> None:
    """Sends Lightning's progress to standard output, and leaves out what says nothing here."""
    for name in ("lightning", "lightning.fabric", "lightning.pytorch"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(sys.stdout)
                handler.addFilter(lambda record: "Tip: " not in record.getMessage())  # advertisements
    for message in (
        "does not have many workers",  # the images are in memory: worker processes would only slow their batches down
        "exists and is not empty",  # each logger and checkpoint says so of the run's folder, new though it is
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    ):
        warnings.filterwarnings("ignore", message=f".*{message}")


def main(args: ArgsType = None) -> None:
    """Runs the command line; a user's mistake becomes one line on standard error and exit status 2.

    Args:
        args: The words after the program's name; those of this process if not given.
    """
    _quiet_lightning()
    try:
        CLI(args)
    except (InputError, ArgumentError, MisconfigurationException, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
