"""What the rows of an unfinished prediction are of."""

import hashlib
from pathlib import Path

from multilabel_pl import __version__
from multilabel_pl.data.prediction_order import PredictionOrder
from multilabel_pl.digests import file_digest
from multilabel_pl.results.prediction_tables import PredictedImages
from multilabel_pl.results.unfinished_table import Job


def job_of(
    images: PredictedImages, order: PredictionOrder, checkpoint: Path | None, precision: str, spreadsheet: bool
) -> Job:
    """Describes whatever changes the rows of a prediction, or the batches that it is made in, by words for messages.

    Args:
        images: All images.
        order: Those that are predicted, and how.
        checkpoint: The file of the model, if it is from one.
        precision: Of the numbers that the network computes with.
        spreadsheet: Whether the table is for a spreadsheet.
    """
    return {
        "the version": __version__,
        "the checkpoint": file_digest(checkpoint) if checkpoint is not None else "",
        "the images": hashlib.sha256(images.fingerprint().encode()).hexdigest(),
        "their number": order.size,
        "the batch size": order.batch_size,
        "the number of processes": order.num_replicas,
        "the precision": precision,
        "spreadsheet": spreadsheet,
    }
