"""Files of a run as artifacts of Weights & Biases and MLflow, for a trainer that has their loggers.

Best checkpoints are not among them: the loggers' own option `log_model` has those.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger

FIGURES = ".png"


def log_artifacts(loggers: Iterable[Logger], files: Sequence[Path], name: str) -> None:
    """Copies files to the runs of those loggers that keep artifacts.

    Args:
        loggers: A trainer's.
        files: The files; those that don't exist are left out.
        name: What they are of: `fit`, or the command that has evaluated.
    """
    files = [path for path in files if path.is_file()]
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            _log_to_wandb(logger, files, name)
        elif isinstance(logger, MLFlowLogger):
            _log_to_mlflow(logger, files, name)


def _log_to_wandb(logger: WandbLogger, files: Sequence[Path], name: str) -> None:
    """Logs files as an artifact of a run, and figures also as images, which its page shows."""
    import wandb  # there is a logger of it, so it is installed

    run = logger.experiment
    artifact = wandb.Artifact(f"{name}-{run.id}", type="results")
    for path in files:
        artifact.add_file(str(path), name=path.name)
    run.log_artifact(artifact)
    if figures := {f"{name}/{path.stem}": wandb.Image(str(path)) for path in files if path.suffix == FIGURES}:
        run.log(figures)


def _log_to_mlflow(logger: MLFlowLogger, files: Sequence[Path], name: str) -> None:
    for path in files:
        logger.experiment.log_artifact(logger.run_id, str(path), artifact_path=name)
