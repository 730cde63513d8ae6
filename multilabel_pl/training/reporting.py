"""What an evaluation prints, and leaves beside its checkpoint."""

from pathlib import Path

import lightning.pytorch as pl

from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.data.datasets import LabelledDataset
from multilabel_pl.errors import InputError
from multilabel_pl.file_names import PAGE
from multilabel_pl.messages import say
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.model.explanation import Explainer
from multilabel_pl.results.evaluation_writer import EvaluationOutput, write_evaluation
from multilabel_pl.results.model_card import CARD, write_model_card
from multilabel_pl.results.origin import Origin
from multilabel_pl.results.report import report
from multilabel_pl.results.text import screen_width
from multilabel_pl.training.logger_artifacts import log_artifacts


def report_evaluation(
    trainer: pl.Trainer,
    beside: str | Path | None,
    command: str,
    verbose: bool,
    output: EvaluationOutput,
) -> None:
    """Prints the evaluation that a trainer has just run, and writes it to a folder beside a checkpoint.

    A trainer with a logger of Weights & Biases or MLflow also logs the folder's files as artifacts.

    Args:
        trainer: The trainer.
        beside: The checkpoint; nothing is written without one.
        command: What was asked for, `test` or another one, of the validation images; it is the name of the folder.
        verbose: Whether to print the report.
        output: What to write.

    Raises:
        InputError: If no image was evaluated.
    """
    stage = "test" if command == "test" else "val"
    if not trainer.callback_metrics and not trainer.barebones:  # which logs none
        raise InputError(f"{command} had no images to measure: raise --trainer.limit_{stage}_batches")
    model = trainer.lightning_module
    if not trainer.is_global_zero or not isinstance(model, MultiLabelClassifier) or model.evaluation is None:
        return
    evaluation = model.evaluation.cpu()
    learned_here = command == "tune"
    if verbose:
        say(f"\n{report(evaluation, learned_here, width=screen_width())}\n")
    if beside is None:
        return
    images = _evaluated(trainer, stage)
    origin = _origin(trainer, model, images, Path(beside))
    folder = Path(beside).parent / command
    explain = Explainer(model) if output.explain else None
    text = write_evaluation(evaluation, images, origin, folder, output, stage, learned_here, explain)
    if command == "test":
        write_model_card(evaluation, text, origin, folder / CARD)
    log_artifacts(trainer.loggers, sorted(folder.iterdir()), command)
    say(f"written to {folder}{f': open {PAGE} in a browser' if output.figures else ''}")


def _origin(
    trainer: pl.Trainer, model: MultiLabelClassifier, images: LabelledDataset | None, checkpoint: Path
) -> Origin:
    assert model.task is not None
    data = getattr(trainer, "datamodule", None)  # which Lightning sets, if ever one was given
    if images is None or not isinstance(data, LabelledDataModule) or images not in (data.val_set, data.test_set):
        return Origin(model.task, dict(model.hparams), checkpoint, epoch=model.saved_epoch)
    return Origin(model.task, dict(model.hparams), checkpoint, data.source, dict(data.hparams), model.saved_epoch)


def _evaluated(trainer: pl.Trainer, stage: str) -> LabelledDataset | None:
    """Returns the images that have just been evaluated."""
    loader = trainer.val_dataloaders if stage == "val" else trainer.test_dataloaders
    dataset = getattr(loader, "dataset", None)
    return dataset if isinstance(dataset, LabelledDataset) else None
