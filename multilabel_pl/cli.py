"""The command line: Lightning's, with this package's defaults."""

import shlex
import sys
from pathlib import Path
from typing import Any, TypeGuard

import lightning.pytorch as pl
import torch
from jsonargparse import Namespace
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar, TQDMProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from multilabel_pl import __version__
from multilabel_pl.checkpoints import WholeFiles, read_checkpoint
from multilabel_pl.console import one_line_errors, quiet_lightning
from multilabel_pl.curves import Curves
from multilabel_pl.data.image_files import ImageFilesDataModule
from multilabel_pl.data.labelled import LabelledDataModule
from multilabel_pl.data.mnist import MNISTDataModule
from multilabel_pl.data.scenes import SceneDataModule  # noqa: F401, known by its name to --data
from multilabel_pl.data.table import TableDataModule  # noqa: F401, known by its name to --data
from multilabel_pl.errors import InputError
from multilabel_pl.interruption import Interruption
from multilabel_pl.memory import keep_freed_memory
from multilabel_pl.messages import note, say
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.results.files import check_writable
from multilabel_pl.runs import (
    BEST,
    LAST,
    Run,
    checkpoint_of,
    find_checkpoint,
    make_run,
    newest_checkpoints,
    newest_run,
    run_of,
)
from multilabel_pl.saving import BestCheckpoint, LastCheckpoint
from multilabel_pl.trainer import Trainer

DEFAULT_DATA = f"{MNISTDataModule.__module__}.{MNISTDataModule.__name__}"
RUNS = "runs"
EPOCHS = 10
SEED = 0
INCOMPLETE = 1  # the exit status of a prediction that had to leave out files
STEPS_PER_BAR_UPDATE = 50  # as often as Lightning logs the loss
SPLIT_OPTIONS = ("val_size", "split_seed")  # of MNIST: what decides which images are set aside for validation
POSITIVE = ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval")  # of the trainer's options
MAX_SEED = 2**32 - 1  # NumPy's
MAX_NUMBER = 2**62  # of whole numbers; torch has 64 bits
CHECKPOINTS: dict[str, type[ModelCheckpoint]] = {BEST: BestCheckpoint, LAST: LastCheckpoint}


class CLI(LightningCLI):
    """LightningCLI for a MultiLabelClassifier on any of the package's data modules.

    Args:
        args: The words of the command line; those of this process if not given.
    """

    trainer: Trainer
    renewed: dict[str, Any]  # the options of the model that `validate` writes into its output
    run: Run | None  # that `fit` goes on with
    step: int  # that the checkpoint is at

    def __init__(self, args: ArgsType = None) -> None:
        super().__init__(
            MultiLabelClassifier,
            LightningDataModule,
            subclass_mode_data=True,
            trainer_class=Trainer,
            trainer_defaults={"default_root_dir": RUNS, "max_epochs": EPOCHS, "num_sanity_val_steps": 0},
            seed_everything_default=SEED,
            parser_kwargs={"prog": "python -m multilabel_pl", "version": __version__, "exit_on_error": False},
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

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Names the methods of Trainer that are subcommands, each with the parameters that are no options."""
        skipped = LightningCLI.subcommands()
        return {**skipped, "predict": {*skipped["predict"], "return_predictions"}}

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses the command line; a checkpoint's own model and data options are the defaults of those."""
        self.renewed, self.run, self.step = {}, None, 0
        # What the options of the data may be is not known before the checkpoint is.
        try:
            self.config = parser.parse_args(_without_data(args)) if _are_words(args) else parser.parse_object(args)
        except UnicodeDecodeError as error:
            raise InputError(f"--config takes a file of YAML in UTF-8, which this is not: {error}") from error
        subcommand = self.config.subcommand
        options = self.config[subcommand]
        _check_options(options)
        root = Path(options.trainer.default_root_dir or RUNS)
        path = self._checkpoint_path(options.ckpt_path, root)
        if path is None:
            self._parse(parser, args, DEFAULT_DATA)
            self.config[subcommand].ckpt_path = None
            return
        checkpoint = _read(path, root)
        say(f"using {path}")
        own, self.step = checkpoint["hyper_parameters"], checkpoint.get("global_step", 0)
        _check_weights(checkpoint, path)
        parser.set_defaults({f"{subcommand}.model.{name}": value for name, value in own.items()})
        if data := _known_data(checkpoint, path):
            init_args = {name: value for name, value in data.items() if name != "class_path"}
            parser.set_defaults({f"{subcommand}.data": {"class_path": data["class_path"], "init_args": init_args}})
        self._parse(parser, args, data["class_path"] if data else DEFAULT_DATA)
        self.config[subcommand].ckpt_path = str(path)
        if options.get("output") and subcommand == "validate":
            self.renewed = {name: self.config.validate.model[name] for name in ("calibrate", "threshold")}
            own = {**own, **self.renewed}
        _notice_ignored(self.config[subcommand].model, own, path)
        if subcommand == "validate" and data:
            _notice_other_split(self.config.validate.data, data, path)

    def _parse(self, parser: LightningArgumentParser, args: ArgsType, default_data: str) -> None:
        """Parses the command line; a data class that it names keeps its own defaults.

        jsonargparse gives it those of the default class, where both have an option of the same name
        (https://github.com/mauvilsa/jsonargparse/issues/460); as the default itself, it has its own.
        """
        super().parse_arguments(parser, args)
        subcommand = self.config.subcommand
        chosen = self.config[subcommand].data.class_path
        if _class_name(chosen) != _class_name(default_data):
            parser.set_defaults({f"{subcommand}.data": {"class_path": chosen}})
            super().parse_arguments(parser, args)
        _check_numbers(self.config[subcommand])

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

    def after_fit(self) -> None:
        """Says where the checkpoint is and how to test it."""
        if self.trainer.run_folder is None or not self.trainer.checkpoint_callbacks:
            return
        if self.trainer.global_step == self.step:
            say("\nnothing was trained: no epoch was left to do; raise --trainer.max_epochs")
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


def _are_words(args: ArgsType) -> TypeGuard[list[str] | None]:
    return args is None or isinstance(args, list)


def _without_data(args: list[str] | None) -> list[str]:
    """Puts the default data in the place of what is said of them, and leaves out the wish to print all options."""
    words = sys.argv[1:] if args is None else args
    if any(word.startswith("--data.help") for word in words):
        return words  # the question is answered at once
    rest, kept = iter(words), []
    for word in rest:
        if word == "--data" or word.startswith(("--data.", "--data=")):
            if "=" not in word:
                next(rest, None)
        elif not word.startswith("--print_config"):
            kept.append(word)
    in_a_config = ["--data", DEFAULT_DATA]  # may be data that lack an option, which is among the words left out
    return kept + in_a_config if any(name in kept for name in CLI.subcommands()) else kept


def _check_options(options: Namespace) -> None:
    """Refuses a configuration file's `trainer: null` and the like, which jsonargparse lets pass.

    Raises:
        InputError: If there is something else in the place of options.
    """
    for name in ("trainer", "model", *(f"{name}_checkpoint" for name in CHECKPOINTS)):
        if not isinstance(options.get(name, options), Namespace):
            raise InputError(f"--{name} must have options, got {options[name]}: leave it out, or name some")


def _check_numbers(options: Namespace) -> None:
    """Refuses numbers that neither jsonargparse nor Lightning refuses, and that would not do.

    Raises:
        InputError: If a number is out of range.
    """
    for name, value in options.items():
        if isinstance(value, int) and abs(value) > MAX_NUMBER:
            raise InputError(f"--{name.replace('.init_args', '')} is too large: {value}")
    if not 0 <= (options.get("seed_everything") or 0) <= MAX_SEED:
        raise InputError(f"--seed_everything must be in [0, {MAX_SEED}], got {options.seed_everything}")
    for name in POSITIVE:
        value = options.trainer[name]
        if isinstance(value, int | float) and value <= 0:
            raise InputError(f"--trainer.{name} must be above 0, got {value}")


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


def _read(path: Path, root: Path) -> dict[str, Any]:
    """Reads a checkpoint; the message about a damaged one names the newest that is not."""
    try:
        return read_checkpoint(path)
    except InputError as error:
        others = newest_checkpoints(root) if path.is_file() else []
        sound = next((other for other in others if _is_sound(other)), None)
        if sound is None:
            raise
        raise InputError(f"{error}; the one before it is {sound}") from error


def _is_sound(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except InputError:
        return False
    return True


def _known_data(checkpoint: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Returns the options of the data that a model was trained on, unless that would import what a file names."""
    data: dict[str, Any] | None = checkpoint.get("datamodule_hyper_parameters")
    if data is None or data["class_path"].rpartition(".")[0] in sys.modules:
        return data
    note(f"{path} was trained on {data['class_path']}, which only --data may import")
    return None


def _check_weights(checkpoint: dict[str, Any], path: Path) -> None:
    """Refuses a checkpoint whose hyperparameters or weights are not those of this package's model.

    Raises:
        InputError: If the model can't be built from the hyperparameters, or has other weights.
    """
    try:
        with torch.device("meta"):  # shapes without memory
            expected = MultiLabelClassifier(**checkpoint["hyper_parameters"]).state_dict()
    except (TypeError, InputError) as error:
        raise InputError(f"{path} is another model's checkpoint: {error}") from error
    found = {name: value.shape for name, value in checkpoint["state_dict"].items()}
    if found != {name: value.shape for name, value in expected.items()}:
        raise InputError(f"{path} is another model's checkpoint: its weights have other names or shapes")


def _notice_ignored(asked: Namespace, own: dict[str, Any], path: Path) -> None:
    """Says which options a checkpoint's hyperparameters will replace, since Lightning does so silently.

    With the checkpoint's values as defaults, whatever differs from them was asked for.
    """
    ignored = [
        f"--model.{name} {asked[name]} (it has {value})"
        for name, value in own.items()
        if asked[name] not in (None, value)  # None leaves the choice to the data, or to the checkpoint
    ]
    if ignored:
        note(f"{path} keeps its own values, ignoring {', '.join(ignored)}")


def _notice_other_split(asked: Namespace, own: dict[str, Any], path: Path) -> None:
    """Says that validation images may be among those that the model was trained on."""
    same_data = _class_name(asked.class_path) == _class_name(own["class_path"])
    if not same_data or _class_name(own["class_path"]) != MNISTDataModule.__name__:
        return  # tables know their images, and nothing is split of scenes
    for name in SPLIT_OPTIONS:
        if asked.init_args.get(name) != own.get(name):
            note(f"{path} was trained with --data.{name} {own[name]}: it may know these images")


def _class_name(class_path: str) -> str:
    """Returns the name of a class, which may be imported from several modules."""
    return class_path.rpartition(".")[2]


def main(args: ArgsType = None) -> None:
    """Runs the command line.

    Args:
        args: The words after the program's name; those of this process if not given.

    Raises:
        SystemExit: With status 2 after a user's mistake, which is told in one line on standard error.
    """
    keep_freed_memory()
    quiet_lightning()
    with one_line_errors():
        CLI(args)
