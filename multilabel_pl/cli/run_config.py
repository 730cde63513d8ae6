"""The options of a run, saved in its folder."""

import lightning.pytorch as pl
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import SaveConfigCallback


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
