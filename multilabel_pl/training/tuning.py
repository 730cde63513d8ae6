"""Checkpoints whose thresholds and calibration were learned again."""

from pathlib import Path
from typing import Any

from multilabel_pl.atomic import check_writable
from multilabel_pl.checkpoint import write_checkpoint
from multilabel_pl.data.datamodule import LabelledDataModule
from multilabel_pl.errors import InputError
from multilabel_pl.model.classifier import MultiLabelClassifier


def path_of_tuned(output: str | None) -> Path:
    """Returns the path of the checkpoint to write.

    Raises:
        InputError: If none is given, it is none of a checkpoint, or can't be written.
    """
    if output is None:
        raise InputError("tune needs an output: the checkpoint to write, ending in .ckpt")
    path = Path(output)
    if path.suffix != ".ckpt" or path.is_dir():
        raise InputError(f"output must be a file ending in .ckpt, got {output}")
    check_writable(path)
    return path


def write_tuned(
    content: dict[str, Any], model: MultiLabelClassifier, datamodule: LabelledDataModule, output: Path
) -> None:
    """Writes a checkpoint with a model's thresholds and calibration in the place of its own.

    Args:
        content: The checkpoint's, which is changed.
        model: The model that has learned them.
        datamodule: The data from which it has, which the new checkpoint records as seen.
        output: Where to.
    """
    decision = model.decision
    learned = {name: value.cpu() for name, value in decision.state_dict(prefix="decision.").items()}
    content["state_dict"].update(learned)
    content["hyper_parameters"].update(threshold=decision.threshold, calibrate=decision.calibrate)
    if (state := content.get(name := type(datamodule).__qualname__)) is not None:
        content[name] = datamodule.state_when_tuned(state)
    write_checkpoint(content, output)
