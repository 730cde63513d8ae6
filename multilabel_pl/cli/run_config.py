"""The options of a run, saved in its folder, and read again when it is resumed."""

from collections.abc import Collection
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import SaveConfigCallback

from multilabel_pl.errors import InputError
from multilabel_pl.training.runs import Run

CONFIG = "config.yaml"
GROUPS = ("trainer", "best_checkpoint", "last_checkpoint")  # the model's and the data's are in the checkpoint


class RunConfig(SaveConfigCallback):
    """Saves the options of a run in its folder, whatever its loggers are."""

    def save_config(self, trainer: pl.Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes config.yaml."""
        folder = getattr(trainer, "run_folder", None)
        if folder is None:
            return
        options = self.config.clone()
        options.ckpt_path = None  # to repeat a run is not to resume it
        self.parser.save(options, folder / CONFIG, overwrite=True, multifile=False)


def options_of_run(run: Run, known: Collection[str]) -> dict[str, Any]:
    """Returns the options that a run was started with, by dotted names.

    Args:
        run: The run.
        known: Names of all options: a run of another version of Lightning may have had others.

    Raises:
        InputError: If its config.yaml can't be read.
    """
    path = run.folder / CONFIG
    try:
        recorded = yaml.safe_load(path.read_text(encoding="utf-8"))
        groups = {group: dict(recorded.get(group) or {}) for group in GROUPS}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: delete it, and give the options of the run again") from error
    options = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    options["seed_everything"] = recorded.get("seed_everything")
    options.pop("trainer.default_root_dir", None)  # where the run has been found, whatever it was called then
    return {name: value for name, value in options.items() if name in known and value is not None}
