"""How logits become tags: a temperature and a threshold for each label, learned on validation data."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from multilabel_pl.model.calibration import fit_temperatures
from multilabel_pl.model.prediction import name_tags
from multilabel_pl.model.thresholds import Rule, fixed_thresholds, learn_thresholds


@dataclass(frozen=True)
class Decision:
    """A label is a tag where sigmoid(logit / temperature) >= threshold.

    Attributes:
        temperatures: float32 (L,).
        thresholds: float32 (L,).
        notes: Which labels could not have what was asked for, and what they have instead; a line each.
    """

    temperatures: Tensor
    thresholds: Tensor
    notes: list[str]


def learn_decision(
    logits: Tensor, targets: Tensor, labels: Sequence[str], threshold: float | list[float] | str, calibrate: bool
) -> Decision:
    """Sets the temperatures and then, on calibrated probabilities, the thresholds.

    Args:
        logits: float32 (N, L).
        targets: (N, L) of 0 and 1.
        labels: Names of the labels.
        threshold: A number, one for each label, or a rule.
        calibrate: Whether to fit temperatures; else they are 1.
    """
    temperatures, notes = torch.ones_like(logits[0]), []
    if calibrate:
        temperatures, fitted = fit_temperatures(logits, targets)
        notes += _missing(labels, fitted, "no temperature fits {}: 1 stays")
    if isinstance(threshold, str):
        probabilities = (logits / temperatures).sigmoid()
        thresholds, learned = learn_thresholds(probabilities, targets, Rule.parse(threshold))
        notes += _missing(labels, learned, f"{threshold} sets no threshold for {{}}: 0.5 stays")
    else:
        thresholds = fixed_thresholds(threshold, len(labels)).to(logits.device)
    return Decision(temperatures, thresholds, notes)


def _missing(labels: Sequence[str], found: Tensor, note: str) -> list[str]:
    if found.all():
        return []
    [names] = name_tags(~found[None], labels)
    return [note.format(", ".join(names))]
