"""The command line: Lightning's, with this package's defaults."""

import shlex
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import Namespace, set_parsing_settings
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar, TQDMProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from multilabel_pl import __version__
from multilabel_pl.atomic import check_writable
from multilabel_pl.checkpoint import WholeFiles
from multilabel_pl.cli.arguments import are_words, check_groups, check_numbers, without_data
from multilabel_pl.cli.console import one_line_errors, quiet_lightning
from multilabel_pl.cli.recall import (
    class_name,
    known_data,
    notice_ignored,
    notice_other_data,
    notice_other_split,
    read_sound,
)
from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.data.image_files import ImageFilesDataModule
from multilabel_pl.data.mnist import MNISTDataModule
from multilabel_pl.data.scenes import SceneDataModule  # noqa: F401, known by its name to --data
from multilabel_pl.data.table import TableDataModule  # noqa: F401, known by its name to --data
from multilabel_pl.errors import InputError
from multilabel_pl.messages import note, say
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.training.allocator import keep_freed_memory
from multilabel_pl.training.checkpointing import BestCheckpoint, LastCheckpoint
from multilabel_pl.training.csv_logger import Curves
from multilabel_pl.training.graceful_shutdown import Interruption
from multilabel_pl.training.runs import (
    BEST,
    LAST,
    Run,
    checkpoint_of,
    find_checkpoint,
    make_run,
    newest_run,
    run_of,
)
from multilabel_pl.training.trainer import Trainer

DEFAULT_DATA = f"{MNISTDataModule.__module__}.{MNISTDataModule.__name__}"
RUNS = "runs"
SCRIPT = "multilabel-pl"
EPOCHS = 10
SEED = 0
INCOMPLETE = 1  # the exit status of a prediction that had to leave out files
STEPS_PER_BAR_UPDATE = 50  # as often as Lightning logs the loss
CHECKPOINTS: dict[str, type[ModelCheckpoint]] = {BEST: BestCheckpoint, LAST: LastCheckpoint}
GROUPS = ("trainer", "model", *(f"{name}_checkpoint" for name in CHECKPOINTS))  # of options


class CLI(LightningCLI):
    """LightningCLI for a MultiLabelClassifier on any of the package's data modules.

    Args:
        args: The words of the command line; those of this process if not given.
    """

    trainer: Trainer
    renewed: dict[str, Any]  # the options of the model that `validate` writes into its output
    run: Run | None  # that `fit` goes on with
    step: int  # that the checkpoint is at
    recalled: dict[str, Any] | None  # the options of the data that it was trained on

    def __init__(self, args: ArgsType = None) -> None:
        super().__init__(
            MultiLabelClassifier,
            LightningDataModule,
            subclass_mode_data=True,
            trainer_class=Trainer,
            trainer_defaults={"default_root_dir": RUNS, "max_epochs": EPOCHS, "num_sanity_val_steps": 0},
            seed_everything_default=SEED,
            parser_kwargs={"prog": _program(), "version": __version__, "exit_on_error": False},
            save_config_callback=RunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            auto_configure_optimizers=False,  # the network, and so its parameters, come after the data is known
            load_from_checkpoint_support=False,  # the hyperparameters are plain values already
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Sets the default data and adds the two checkpoints of a run."""
        parser.set_defaults({"data": {"class_path": DEFAULT_DATA}})
        for name, checkpoint in CHECKPOINTS.items():
            # Not as add_lightning_class_args would: `fit` alone has them, and --trainer.enable_checkpointing decides.
            parser.add_class_arguments(checkpoint, f"{name}_checkpoint")
            parser.set_defaults(
                {f"{name}_checkpoint.filename": name, f"{name}_checkpoint.enable_version_counter": False}
            )
        parser.set_defaults({"best_checkpoint.monitor": "val_loss"})
        for action in parser._actions:
            if action.dest == "trainer.strategy":  # or all options of all strategies' parts: a script of 170 MB
                action.complete = {}  # type: ignore[attr-defined] # what shtab looks at

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Names the methods of Trainer that are subcommands, each with the parameters that are no options."""
        skipped = LightningCLI.subcommands()
        return {
            **skipped,
            "predict": {*skipped["predict"], "return_predictions"},
            "export": {"model", "datamodule"},
            "demo": {"model", "datamodule"},
        }

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses the command line; a checkpoint's own model and data options are the defaults of those."""
        self.renewed, self.run, self.step, self.recalled = {}, None, 0, None
        try:
            self.config = self._parse_without_data(parser, args)
        except UnicodeDecodeError as error:
            raise InputError(f"--config takes a file of YAML in UTF-8, which this is not: {error}") from error
        subcommand = self.config.subcommand
        options = self.config[subcommand]
        check_groups(options, GROUPS)
        root = Path(options.trainer.default_root_dir or RUNS)
        path = self._checkpoint_path(options.ckpt_path, root)
        if path is None:
            self._parse(parser, args, DEFAULT_DATA)
            self.config[subcommand].ckpt_path = None
            return
        checkpoint = read_sound(path, root)
        say(f"using {path}")
        own, self.step = checkpoint["hyper_parameters"], checkpoint.get("global_step", 0)
        MultiLabelClassifier.check_checkpoint(checkpoint, path)
        parser.set_defaults({f"{subcommand}.model.{name}": value for name, value in own.items()})
        if data := known_data(checkpoint, path):
            init_args = {name: value for name, value in data.items() if name != "class_path"}
            parser.set_defaults({f"{subcommand}.data": {"class_path": data["class_path"], "init_args": init_args}})
        self._parse(parser, args, data["class_path"] if data else DEFAULT_DATA)
        self.config[subcommand].ckpt_path = str(path)
        if options.get("output") and subcommand == "validate":
            self.renewed = {name: self.config.validate.model[name] for name in ("calibrate", "threshold")}
            own = {**own, **self.renewed}
        notice_ignored(self.config[subcommand].model, own, path)
        if subcommand == "validate" and data:
            notice_other_split(self.config.validate.data, data, path)
        self.recalled = data

    def _parse_without_data(self, parser: LightningArgumentParser, args: ArgsType) -> Namespace:
        """Parses the rest alone, as what the options of the data may be is not known before the checkpoint is."""
        parsed: Namespace = (
            parser.parse_args(without_data(args, DEFAULT_DATA, self.subcommands()))
            if are_words(args)
            else parser.parse_object(args)
        )
        return parsed

    def _parse(self, parser: LightningArgumentParser, args: ArgsType, default_data: str) -> None:
        """Parses the command line; a data class that it names keeps its own defaults.

        jsonargparse gives it those of the default class, where both have an option of the same name
        (https://github.com/mauvilsa/jsonargparse/issues/460); as the default itself, it has its own.
        """
        super().parse_arguments(parser, args)
        subcommand = self.config.subcommand
        chosen = self.config[subcommand].data.class_path
        if class_name(chosen) != class_name(default_data):
            parser.set_defaults({f"{subcommand}.data": {"class_path": chosen}})
            super().parse_arguments(parser, args)
        check_numbers(self.config[subcommand])

    def before_instantiate_classes(self) -> None:
        """Keeps what was asked for anew from giving way to the checkpoint's."""
        for name, value in self.renewed.items():
            self.config.validate.model[name] = value

    def _checkpoint_path(self, ckpt_path: str | Path | None, root: Path) -> Path | None:
        """Finds the file that --ckpt_path means; commands that evaluate take the best one if it isn't given."""
        fitting = self.config.subcommand == "fit"
        if fitting and ckpt_path is None:
            return None
        if fitting and ckpt_path == LAST:
            return self._last_of_newest(root)
        name = str(ckpt_path or BEST)
        path = find_checkpoint(root, name) if name in (BEST, LAST) else Path(name)
        self.run = run_of(root, path)
        return path

    def _last_of_newest(self, root: Path) -> Path | None:
        """Finds what the newest run goes on from; one that was ended before its first checkpoint begins anew."""
        self.run = newest_run(root)
        if self.run is not None and self.run.last.is_file():
            return self.run.last
        if self.run is not None and any(self.run.folder.glob("*.ckpt")):
            raise InputError(f"{self.run.last} is not there: name another checkpoint with --ckpt_path")
        note(f"{self.run.folder if self.run else root} has no checkpoint yet: beginning anew")
        return None

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Makes the trainer; only `fit` saves checkpoints and logs, in a folder that is made when all is well."""
        _check_data(self.datamodule, str(self.subcommand))
        options = self.config_init[self.subcommand].trainer
        fitting = self.subcommand == "fit"
        own = options.callbacks or []
        callbacks = [Interruption(), *([own] if isinstance(own, Callback) else own)]
        if not options.barebones:
            if options.enable_progress_bar is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
                # Not Rich's, which Lightning prefers where it is installed: it is lost in redirected output.
                callbacks.append(TQDMProgressBar(refresh_rate=STEPS_PER_BAR_UPDATE, leave=True))
            if fitting and options.enable_checkpointing is not False:
                callbacks += self._checkpoints(options)
        if not fitting:
            self.save_config_callback = None
        logger = None if options.barebones else False if options.logger in (None, True) else options.logger
        try:
            trainer = super().instantiate_trainer(callbacks=callbacks, logger=logger, **kwargs)
        except (TypeError, ValueError) as error:  # what Lightning says of a value, such as an unknown accelerator
            raise InputError(str(error)) from error
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # none of the user's
            trainer.strategy.checkpoint_io = WholeFiles()
        return trainer

    def _checkpoints(self, options: Namespace) -> list[ModelCheckpoint]:
        validates = self.datamodule.has_validation and options.limit_val_batches != 0
        return [self.config_init.fit[f"{name}_checkpoint"] for name in ([BEST, LAST] if validates else [LAST])]

    def before_fit(self) -> None:
        """Finds mistakes in the data, and in how the model fits it; then makes the folder of the run."""
        self.datamodule.setup("fit")
        self.model.adopt_data(self.datamodule)
        if self.recalled is not None:
            notice_other_data(self.config.fit.data, self.recalled, self.config.fit.ckpt_path)
        if self.trainer.fast_dev_run or self.trainer.barebones or not self.trainer.is_global_zero:
            return
        root = Path(self.trainer.default_root_dir)
        step = self.step if self.run is not None else 0
        self.trainer.run_folder, version = self.run or make_run(root)
        for checkpoint in self.trainer.checkpoint_callbacks:
            if isinstance(checkpoint, BestCheckpoint):
                checkpoint.dirpath = checkpoint.dirpath or str(self.trainer.run_folder)
        if self.config.fit.trainer.logger in (None, True):
            events = TensorBoardLogger(root, "", version, default_hp_metric=False, purge_step=step or None)
            self.trainer.loggers = [events, Curves(self.trainer.run_folder / "metrics.csv", step)]

    def before_validate(self) -> None:
        """Finds out whether the results can be written."""
        output = self.config.validate.output
        if output is not None:
            check_writable(Path(output))
        check_writable(Path(output or self.config.validate.ckpt_path).parent / "validate" / "report.md")

    def before_test(self) -> None:
        """Finds out whether the results can be written."""
        check_writable(Path(self.config.test.ckpt_path).parent / "test" / "report.md")

    def before_demo(self) -> None:
        """Finds the checkpoint whose answers are shown beside."""
        options = self.config_init.demo
        if options.beside is not None:
            options.beside = str(self._checkpoint_path(options.beside, Path(options.trainer.default_root_dir or RUNS)))

    def after_fit(self) -> None:
        """Says where the checkpoint is and how to test it."""
        if self.trainer.run_folder is None or not self.trainer.checkpoint_callbacks:
            return
        if self.trainer.global_step == self.step:
            say("\nnothing was trained: no step was left to do; raise --trainer.max_epochs, or what else limits it")
            return
        path = checkpoint_of(self.trainer.run_folder, BEST)
        say(f"\ntrained: {path}")
        say(f"test it: {shlex.join(['python', '-m', 'multilabel_pl', 'test', '--ckpt_path', str(path)])}")

    def after_predict(self) -> None:
        """Lets the exit status say that some files could not be read."""
        if self.trainer.num_unreadable > 0:
            sys.exit(INCOMPLETE)


class RunConfig(SaveConfigCallback):
    """Saves the options of a run in its folder, whatever its loggers are."""

    def save_config(self, trainer: pl.Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes config.yaml."""
        folder = getattr(trainer, "run_folder", None)
        if folder is None:
            return
        options = self.config.clone()
        options.ckpt_path = None  # to repeat a run is not to resume it
        self.parser.save(options, folder / "config.yaml", overwrite=True, multifile=False)


def _check_data(data: LightningDataModule, subcommand: str) -> None:
    """Refuses data that a subcommand has no use for.

    Raises:
        InputError: If the data are no labelled images, nor files to predict.
    """
    kinds = (LabelledDataModule, ImageFilesDataModule) if subcommand == "predict" else (LabelledDataModule,)
    if not isinstance(data, kinds):
        raise InputError(
            f"{subcommand} needs labelled images, which {type(data).__name__} does not have: name other --data"
        )


def _program() -> str:
    """Returns what the program is called by: its script, which has completions, or its module."""
    return SCRIPT if Path(sys.argv[0]).name == SCRIPT else "python -m multilabel_pl"


def main(args: ArgsType = None) -> None:
    """Runs the command line.

    Args:
        args: The words after the program's name; those of this process if not given.

    Raises:
        SystemExit: With status 2 after a user's mistake, which is told in one line on standard error.
    """
    keep_freed_memory()
    quiet_lightning()
    set_parsing_settings(add_print_completion_argument=True)
    with one_line_errors():
        CLI(args)
