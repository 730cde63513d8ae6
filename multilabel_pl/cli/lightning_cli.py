"""LightningCLI with this package's defaults: the commands that are methods of the Trainer."""

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TextIO

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only

from multilabel_pl import __version__
from multilabel_pl.atomic import check_writable
from multilabel_pl.cli.answers import check_early, check_request, print_help
from multilabel_pl.cli.arguments import (
    check_data,
    check_makeable,
    check_processes,
    check_values,
    checkpoint_to_use,
    is_long,
    note_ignored,
    note_other_data,
    read_sound,
    recorded_data,
)
from multilabel_pl.cli.commands import COMMANDS, program
from multilabel_pl.cli.console import messages_apart_from_rows
from multilabel_pl.cli.functions import FUNCTIONS, add_functions
from multilabel_pl.cli.options import describe
from multilabel_pl.cli.request import Request, class_name
from multilabel_pl.cli.run import RunConfig, callbacks_of_run, check_monitors, options_of_run, report_end, write_to
from multilabel_pl.data.image_files import ImageFilesDataModule
from multilabel_pl.data.mnist import MNISTDataModule
from multilabel_pl.data.streaming import share_seen_images
from multilabel_pl.data.table import TableDataModule
from multilabel_pl.errors import INCOMPLETE, InputError
from multilabel_pl.file_names import BEST, LAST, REPORT
from multilabel_pl.messages import say
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.evaluation import metric_names
from multilabel_pl.model.loading import build_model
from multilabel_pl.training.checkpoint_io import AtomicCheckpointIO
from multilabel_pl.training.checkpointing import BestCheckpoint, LastCheckpoint
from multilabel_pl.training.completion import why_finished
from multilabel_pl.training.graceful_shutdown import GracefulShutdown
from multilabel_pl.training.lightning_internals import watch_launched
from multilabel_pl.training.optimizer_forms import check_own_optimizer
from multilabel_pl.training.restoring import check_fits
from multilabel_pl.training.runs import RUNS, Run, find_checkpoint, lock, make_run
from multilabel_pl.training.trainer import Trainer

DEFAULT_DATA = f"{MNISTDataModule.__module__}.{MNISTDataModule.__name__}"
SEED = 0
TRAINER_DEFAULTS = {"default_root_dir": RUNS, "max_epochs": 10, "num_sanity_val_steps": 0}
REPORTING = ("validate", "test")  # commands that print their reports
GROUPS = ("trainer", "model", "best_checkpoint", "last_checkpoint")  # of options


class CLI(LightningCLI):
    """LightningCLI for a MultiLabelClassifier on any of the package's data modules.

    Args:
        request: What is asked for.
    """

    trainer: Trainer
    run: Run | None = None  # that `fit` resumes
    lock: TextIO | None = None  # of the run that `fit` writes to
    path: Path | None = None  # of the checkpoint to use
    content: dict[str, Any]  # of that checkpoint
    step: int = 0  # of that checkpoint
    recorded_data: dict[str, Any] | None = None  # options of the data that it was trained on
    long_lists: Mapping[str, Any] = {}  # of these, such as thousands of labels, which the parser would take minutes for
    loaded: MultiLabelClassifier | None = None  # built from that checkpoint, still without its weights
    options_parser: LightningArgumentParser

    def __init__(self, request: Request) -> None:
        self.request = request
        try:
            with messages_apart_from_rows(self.request):
                super().__init__(
                    MultiLabelClassifier,
                    LightningDataModule,
                    subclass_mode_data=True,
                    trainer_class=Trainer,
                    seed_everything_default=SEED,
                    parser_kwargs={"prog": program(), "version": __version__, "exit_on_error": False},
                    save_config_callback=RunConfig,
                    save_config_kwargs={"save_to_log_dir": False},
                    auto_configure_optimizers=False,  # the network, and so its parameters, come after the data is known
                    load_from_checkpoint_support=False,  # the hyperparameters are plain values already
                    args=self.request.args,
                )
        finally:
            if self.lock is not None:
                self.lock.close()

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override] # not static: it depends on the words
        """Returns the command that was asked for, so that its parser alone is built, or all of them."""
        names = [self.request.command] if self.request.command else COMMANDS.keys() - FUNCTIONS.keys()
        return {name: set(COMMANDS[name].supplied) for name in names}

    def setup_parser(self, *args: Any, **kwargs: Any) -> None:
        """Adds the commands that are functions, for completions."""
        super().setup_parser(*args, **kwargs)
        if self.request.command is None:
            add_functions(self.parser)

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the options of trainer, model and data; the model's task comes from the data or the checkpoint."""
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.add_class_arguments(MultiLabelClassifier, "model", skip={"task"}, fail_untyped=False, sub_configs=True)
        parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
        parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
        # A class that is named gets no default beside it, as jsonargparse would give it that one's values of options
        # with the same names (https://github.com/mauvilsa/jsonargparse/issues/460).
        if self.request.data is None:
            parser.set_defaults({"data": {"class_path": DEFAULT_DATA}})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the options of the two checkpoints of a run.

        Not by `add_lightning_class_args`, since `fit` alone has these callbacks, and
        --trainer.enable_checkpointing decides.
        """
        self.options_parser = parser  # of the command
        parser.add_class_arguments(BestCheckpoint, "best_checkpoint")
        parser.add_class_arguments(LastCheckpoint, "last_checkpoint")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses the command line; a checkpoint's own model and data options are the defaults of those."""
        if self.request.command is not None:
            self._prepare(parser, self.request.command)
        # Not by Lightning's method, which warns if these are not the words of the process.
        self.config = parser.parse_args(args) if isinstance(args, list) else parser.parse_object(args)
        options = self.config[self.config.subcommand]
        check_values(options, GROUPS)
        options.ckpt_path = None  # Lightning would read the checkpoint once more
        if self.path is not None:
            own = self.content["hyper_parameters"]
            note_ignored(options.model, own, self.path)
            for name in own.keys() & options.model.keys():
                options.model[name] = own[name]
        for name, value in self.long_lists.items():
            if options.data.init_args.get(name) is None:
                options.data.init_args[name] = value

    def _prepare(self, parser: LightningArgumentParser, command: str) -> None:
        """Prints help, or checks the names of the options and makes those of a checkpoint the defaults."""
        if command in REPORTING:
            parser.set_defaults({f"{command}.verbose": True})
        known = describe(command, self.options_parser)
        print_help(self.request, known)
        if self.request.help is not None:
            return
        check_early(self.request, known)
        self.run, self.path = checkpoint_to_use(self.request, self._root)
        if self.run is not None:
            self._resume(parser, self.run, known.commands[command])
        if self.path is not None:
            self._set_defaults(parser, self.path)
        recorded = class_name(str((self.recorded_data or {}).get("class_path", DEFAULT_DATA)))
        check_request(self.request, known, recorded)
        if self.request.recipe is not None:
            say(f"using the recipe {self.request.recipe}, which options and --config override")

    def _resume(self, parser: LightningArgumentParser, run: Run, known: Collection[str]) -> None:
        """Locks the run, and makes its options the defaults."""
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined] # set, but undeclared
            self.lock = lock(run)  # before its checkpoint is read, which another process may be about to replace
        if self.path is not None:
            own = options_of_run(run, known)
            parser.set_defaults({f"fit.{name}": value for name, value in own.items()})
            say("with the run's options, but for those that are given now")

    def _set_defaults(self, parser: LightningArgumentParser, path: Path) -> None:
        """Reads the checkpoint and makes its options the defaults."""
        subcommand = self.request.command
        self.content = read_sound(path, self._root)
        self.step = self.content.get("global_step", 0)
        say(f"using {path}")
        own = self.content["hyper_parameters"]
        self.loaded = build_model(MultiLabelClassifier, self.content, path)
        parser.set_defaults({f"{subcommand}.model.{name}": own[name] for name in own if name != "task"})
        self.recorded_data = recorded_data(self.content, path)
        asked = self.request.data
        if (data := self.recorded_data) and (asked is None or asked == class_name(data["class_path"])):
            check_makeable(data, self.request.options, path)
            init_args = {name: value for name, value in data.items() if name != "class_path"}
            self.long_lists = {name: init_args.pop(name) for name in list(init_args) if is_long(init_args[name])}
            parser.set_defaults({f"{subcommand}.data": {"class_path": data["class_path"], "init_args": init_args}})

    @property
    def _root(self) -> Path:
        """The folder of the runs."""
        return Path(self.request.get("trainer.default_root_dir") or RUNS)

    def before_instantiate_classes(self) -> None:
        """Sets the path of the checkpoint again, which Lightning's own reading is over by now."""
        self.config[self.config.subcommand].ckpt_path = str(self.path) if self.path is not None else None

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Builds the trainer; only `fit` saves checkpoints and logs, in a folder created when all is well."""
        check_data(self.datamodule, str(self.subcommand))
        if self.request.images:
            self._name_images(self.request.images)
        options = self.config_init[self.subcommand].trainer
        fitting = self.subcommand == "fit"
        resumes = self.run is not None and self.path is not None
        callbacks = [GracefulShutdown(), *callbacks_of_run(options.callbacks, resumes)]
        if fitting and not options.barebones and options.enable_checkpointing is not False:
            callbacks += self._checkpoints(options)
        if fitting:
            logged = metric_names(self.config_init.fit.model.hparams["calibrate"])
            check_monitors(callbacks, ["train_loss", *(f"val_{name}" for name in logged)])
        else:
            self.save_config_callback = None
        logger = None if options.barebones else False if options.logger in (None, True) else options.logger
        try:
            trainer = super().instantiate_trainer(callbacks=callbacks, logger=logger, **kwargs)
        except (TypeError, ValueError) as error:  # Lightning's messages about values, such as an unknown accelerator
            raise InputError(str(error)) from error
        check_processes(trainer, self.request)
        watch_launched(trainer)
        return trainer

    def _name_images(self, images: list[str]) -> None:
        """Passes on images that are named without an option: the parser takes a second for a thousand of them."""
        if not isinstance(self.datamodule, ImageFilesDataModule):
            raise InputError(f"{images[0]} is for --data {ImageFilesDataModule.__name__}: leave out other --data")
        self.datamodule.paths += images

    def _checkpoints(self, options: Namespace) -> list[Checkpoint]:
        validates = self.datamodule.has_validation and options.limit_val_batches != 0
        best, last = (self.config_init.fit[f"{name}_checkpoint"] for name in (BEST, LAST))
        return [best, last] if validates else [last]

    def after_instantiate_classes(self) -> None:
        """Replaces the model by the one built from the checkpoint, and passes on what has been read."""
        if self.loaded is None or self.path is None:
            return
        self.model = self.loaded
        share_seen_images(self.content, self.datamodule)
        check_fits(self.content, self.trainer, str(self.subcommand), self.datamodule, self.path)
        if isinstance(io := self.trainer.strategy.checkpoint_io, AtomicCheckpointIO):
            io.opened[str(self.path)] = self.content
        if self.subcommand in REPORTING:
            check_writable(self.path.parent / self.subcommand / REPORT)
        self._take_new_images()

    def _take_new_images(self) -> None:
        """Evaluates on the whole of a table that the command line names, if its images are new to the checkpoint."""
        if self.subcommand == "fit" or not self.request.has_whole_table:
            return
        if isinstance(self.datamodule, TableDataModule):
            seen = self.content.get(TableDataModule.__qualname__, {})
            self.datamodule.take_new_images("val" if self.subcommand in ("validate", "tune") else "test", seen)

    def before_fit(self) -> None:
        """Finds mistakes in the data, and in how the model fits them; then creates the folder of the run."""
        self.datamodule.setup("fit")
        self.model.bind(self.datamodule.task)
        if self.path is not None:
            check_own_optimizer(self.content, self.model, self.path)
        if self.recorded_data is not None:
            note_other_data(self.config.fit.data, self.recorded_data, self.config.fit.ckpt_path)
        self._leave_if_finished()
        if self.trainer.fast_dev_run or self.trainer.barebones or not self.trainer.is_global_zero:
            return
        run = self.run or make_run(Path(self.trainer.default_root_dir))
        self.lock = self.lock or lock(run)
        write_to(run, self.trainer, self.step if self.run else 0, log=self.config.fit.trainer.logger is not False)

    def _leave_if_finished(self) -> None:
        """Ends the program if nothing is left to do for the run that is resumed."""
        if self.run is not None and self.path is not None and (reason := why_finished(self.trainer, self.content)):
            say(f"{self.run.folder} is finished: {reason}")
            sys.exit(0)

    def before_demo(self) -> None:
        """Finds the checkpoint whose predictions are shown beside."""
        options = self.config_init.demo
        if options.beside in (BEST, LAST):
            options.beside = str(find_checkpoint(self._root, options.beside))

    def after_fit(self) -> None:
        """Reports where the checkpoint is and how to test it."""
        report_end(self.trainer)

    def after_predict(self) -> None:
        """Sets the exit status if some files could not be read."""
        if self.trainer.num_unreadable > 0:
            sys.exit(INCOMPLETE)
