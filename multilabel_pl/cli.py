"""The command line: Lightning's, with this package's defaults."""

import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as pl
from jsonargparse import ArgumentError, Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from multilabel_pl import __version__
from multilabel_pl.data.labelled import LabelledDataModule
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
            MultiLabelClassifier,
            LabelledDataModule,
            subclass_mode_data=True,
            trainer_class=Trainer,
            trainer_defaults={"default_root_dir": RUNS, "max_epochs": EPOCHS, "num_sanity_val_steps": 0},
            seed_everything_default=SEED,
            parser_kwargs={"prog": "python -m multilabel_pl", "version": __version__, "exit_on_error": False},
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
        if options.ckpt_path is None and subcommand != "fit":
            options.ckpt_path = BEST
        if options.ckpt_path in (BEST, LAST):
            options.ckpt_path = str(find_checkpoint(Path(options.trainer.default_root_dir), options.ckpt_path))
            print(f"using {options.ckpt_path}")
        if options.ckpt_path is not None:
            own = read_hyperparameters(Path(options.ckpt_path))
            if unknown := own.keys() - vars(options.model).keys():
                raise InputError(f"{options.ckpt_path} is another model's checkpoint: no option {min(unknown)} here")
            # With the checkpoint's values as defaults, whatever differs from them was asked for.
            parser.set_defaults({f"{subcommand}.model.{name}": value for name, value in own.items()})
            super().parse_arguments(parser, args)
            self.config[subcommand].ckpt_path = options.ckpt_path
            _notice_ignored(self.config[subcommand].model, own, options.ckpt_path)

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
        try:
            return super().instantiate_trainer(callbacks=callbacks, logger=logger, **kwargs)
        except ValueError as error:  # what Lightning says of an option's value, such as an unknown accelerator
            raise InputError(str(error)) from error

    def _checkpoints(self, folder: Path) -> list[ModelCheckpoint]:
        names = [BEST, LAST] if self.datamodule.has_validation else [LAST]
        checkpoints = [self._get(self.config_init, f"{name}_checkpoint") for name in names]
        for checkpoint in checkpoints:
            checkpoint.dirpath = checkpoint.dirpath or str(folder)
        return checkpoints

    def before_fit(self) -> None:
        """Finds mistakes in the data, and in how the model fits it, before the run's folder is made."""
        self.datamodule.setup("fit")
        self.model.adopt(self.datamodule.labels, self.datamodule.image_shape)

    def after_fit(self) -> None:
        """Says where the checkpoint is and how to test it."""
        checkpoints = [c for c in self.trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
        written = [c.best_model_path for c in checkpoints if c.best_model_path]
        if not written or not self.trainer.is_global_zero:
            return
        default_data = self.parser.parse_args(["fit"]).fit.data
        config = "" if self.config.fit.data == default_data else f" --config {self.trainer.log_dir}/config.yaml"
        print(f"\ntrained: {written[0]}")
        print(f"test it: python -m multilabel_pl test{config} --ckpt_path {written[0]}")


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip: " not in record.getMessage()


def _quiet_lightning() -> None:
    """Sends Lightning's progress to standard output, and leaves out what says nothing here."""
    for name in ("lightning", "lightning.fabric", "lightning.pytorch"):
        for handler in logging.getLogger(name).handlers:
            if type(handler) is logging.StreamHandler:  # Lightning's own
                handler.stream = sys.stdout
                handler.addFilter(_is_no_advertisement)
    for message in (
        "does not have many workers",  # the images are in memory: worker processes would only slow their batches down
        "exists and is not empty",  # each logger and checkpoint says so of the run's folder, new though it is
        "Total length of `list` across ranks is zero",  # training without validation was asked for
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    ):
        warnings.filterwarnings("ignore", message=f".*{message}")


def _notice_ignored(asked: Namespace, own: dict[str, Any], ckpt_path: str) -> None:
    """Says which options a checkpoint's hyperparameters will replace, since Lightning does so silently."""
    ignored = [
        f"--model.{name} {asked[name]} (it has {value})"
        for name, value in own.items()
        if asked[name] not in (None, value)  # None leaves the choice to the data, or to the checkpoint
    ]
    if ignored:
        print(f"note: {ckpt_path} keeps its own values, ignoring {', '.join(ignored)}", file=sys.stderr)


def main(args: ArgsType = None) -> None:
    """Runs the command line; a user's mistake becomes one line on standard error and exit status 2.

    Args:
        args: The words after the program's name; those of this process if not given.
    """
    _quiet_lightning()
    try:
        CLI(args)
    except ArgumentError as error:
        _fail(_in_short(str(error)))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except MisconfigurationException as error:
        _fail(str(error))
    except ValueError as error:
        mistake = error if isinstance(error, InputError) else error.__cause__  # jsonargparse wraps a data module's
        if not isinstance(mistake, InputError):
            raise
        _fail(str(mistake))


def _in_short(message: str) -> str:
    """Leaves out what jsonargparse says of types that only a developer knows."""
    message = re.sub(r'Parser key "([^"]+)":', r"--\1:", message)
    message = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", message)
    message = message.replace("Expected a typing.Literal", "Expected one of ")
    message = message.replace("Does not validate against any of the Union subtypes", "")
    noise = ("Subtypes:", "Errors:", "Given value type:", "Given value: NestedArg", "Expected a NoneType")
    lines = [re.sub(r"^\s*(- )?", "", line) for line in message.splitlines()]
    short = "; ".join(line for line in lines if line and not line.startswith(noise)).replace(":;", ":")
    return re.sub(r"--(\w+): Problem with given class_path '[^']+': --(\w+):", r"--\1.\2:", short)


def _fail(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
