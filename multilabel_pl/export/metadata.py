"""What a program's file says of itself."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from multilabel_pl import __version__
from multilabel_pl.digests import file_digest
from multilabel_pl.export.interface import Metadata
from multilabel_pl.file_names import METRICS
from multilabel_pl.model.classifier import MultiLabelClassifier
from multilabel_pl.results.model_card import CARD
from multilabel_pl.schema.tensors import is_dense

TEST = "test"  # the folder that `test` writes beside a checkpoint


def describe(model: MultiLabelClassifier, content: dict[str, Any] | None = None, path: Path | None = None) -> Metadata:
    """Describes a model: its task, thresholds and what they guarantee; where it is from, and how good it is.

    Args:
        model: The model.
        content: That of the checkpoint that it is from, if it is from one.
        path: That checkpoint. If `test` has measured this very file, its metrics and its card are taken over.
    """
    assert model.task is not None
    metadata: Metadata = {
        **model.task.to_dict(),
        "thresholds": model.decision.thresholds.tolist(),
        "guarantee": model.decision.promise or "",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "multilabel_pl_version": __version__,
        "torch_version": torch.__version__,
    }
    if content is not None and path is not None:
        digest = file_digest(path)
        metadata |= {"checkpoint_sha256": digest, "data_sha256": data_digest(content)}
        metadata |= _measured(path.parent / TEST, digest)
    return metadata


def data_digest(content: dict[str, Any]) -> str:
    """Returns a digest of what a checkpoint records of the data that it has seen, wherever these lie.

    Args:
        content: The checkpoint's.
    """
    options = content.get("datamodule_hyper_parameters") or {}
    name = str(options.get("class_path")).rpartition(".")[2]
    state = content.get(name)
    digest = hashlib.sha256(name.encode(errors="backslashreplace"))
    for key, value in state.items() if isinstance(state, dict) else ():
        if is_dense(value) and value.dtype == torch.int64:  # fingerprints
            digest.update(f"{key}".encode(errors="backslashreplace") + value.numpy().tobytes())
        elif isinstance(value, int | float):  # a text may be a path
            digest.update(f"{key}={value}".encode(errors="backslashreplace"))
    return digest.hexdigest()


def _measured(folder: Path, digest: str) -> Metadata:
    """Returns the metrics and the card in the folder of a test, if they are of the checkpoint with that digest."""
    try:
        card = (folder / CARD).read_text(encoding="utf-8")
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {"metrics": metrics, "card": card} if digest in card else {}
