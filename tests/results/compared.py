"""Evaluations to compare, of few images and any labels."""

from collections.abc import Sequence
from pathlib import Path

import torch

from multilabel_pl.file_names import OUTPUTS
from multilabel_pl.model.decision import Decision
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.origin import Origin
from multilabel_pl.results.outputs import write_outputs
from multilabel_pl.task import Task

SIZE = 400


def an_evaluation(labels: Sequence[str], seed: int, skill: float = 3, size: int = SIZE) -> Evaluation:
    """Returns one of a model of some skill; the truth is the same for all seeds."""
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(size, len(labels), generator=generator) < 0.2).float()
    noise = torch.randn(size, len(labels), generator=generator.manual_seed(seed))
    return Evaluation(Decision(labels, 0.5, False), noise + skill * (targets - 0.5), targets, torch.tensor(0.5))


def write_run(evaluation: Evaluation, folder: Path, data: str | None = "scenes.csv") -> Path:
    """Writes the outputs of an evaluation into the folder `test` of a run, and returns their path."""
    path = folder / "test" / OUTPUTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "best.ckpt").write_bytes(b"weights")
    origin = Origin(Task(evaluation.labels, (1, 28, 28)), {}, folder / "best.ckpt", data)
    write_outputs(evaluation, None, origin, path)
    return path
