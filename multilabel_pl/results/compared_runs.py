"""The evaluations that are compared: read, named, and checked to be of the same images and labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from multilabel_pl.errors import InputError
from multilabel_pl.file_names import OUTPUTS
from multilabel_pl.messages import abridged
from multilabel_pl.model.comparison import in_order
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.outputs import UNKNOWN, Outputs, read_outputs
from multilabel_pl.results.run_options import read_options
from multilabel_pl.results.text import as_yaml


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs that are compared.

    Attributes:
        name: Short, and another one than the others'.
        outputs: Of its evaluation; labels are in the order of the first run's.
        options: By dotted names, None if the run has left no configuration.
    """

    name: str
    outputs: Outputs
    options: dict[str, Any] | None

    @property
    def evaluation(self) -> Evaluation:
        """Its evaluation."""
        return self.outputs.evaluation


def read_runs(folders: Sequence[Path]) -> list[ComparedRun]:
    """Reads the evaluations in folders, each beside the configuration of its run.

    Raises:
        InputError: If a file is damaged, a folder is given twice, or they are not of the same images and labels.
    """
    resolved = [folder.resolve() for folder in folders]
    if repeated := [folder for index, folder in enumerate(folders) if resolved[index] in resolved[:index]]:
        raise InputError(f"{repeated[0]} is given twice: name two runs that differ")
    outputs = [read_outputs(folder / OUTPUTS) for folder in folders]
    pairs = zip(outputs, folders, strict=True)
    matched = [_matched(outputs[0], other, (folders[0], folder)) for other, folder in pairs]
    options = [read_options(folder.parent) for folder in resolved]
    return [ComparedRun(*run) for run in zip(_names(resolved), matched, options, strict=True)]


def differing_options(runs: Sequence[ComparedRun]) -> dict[str, list[str]]:
    """Returns the options that the runs don't share, with the value of each; none if a run has no configuration."""
    known = [run.options for run in runs if run.options is not None]
    if len(known) < len(runs):
        return {}
    names = dict.fromkeys(name for options in known for name in options)
    values = {name: [as_yaml(options.get(name)) for options in known] for name in names}
    return {name: each for name, each in values.items() if len(set(each)) > 1}


def _matched(first: Outputs, other: Outputs, folders: tuple[Path, Path]) -> Outputs:
    """Returns the other outputs with the labels in the order of the first ones."""
    labels, others = first.evaluation.labels, other.evaluation.labels
    both = f"{folders[0]} and {folders[1]}"
    if set(labels) != set(others):
        alone = zip(folders, (set(labels) - set(others), set(others) - set(labels)), strict=True)
        sides = "; ".join(f"{folder} alone has {abridged(sorted(own))}" for folder, own in alone if own)
        raise InputError(f"{both} have different labels, and can't be compared: {sides}")
    evaluation = in_order(other.evaluation, labels)
    sizes = len(first.evaluation.targets), len(evaluation.targets)
    same = "test both on the same images"
    if sizes[0] != sizes[1]:
        raise InputError(f"{both} are of {sizes[0]:,} and {sizes[1]:,} images, and can't be compared: {same}")
    if first.images != other.images:
        raise InputError(f"{both} are of images with different names, and can't be compared: {same}")
    truths = (first.evaluation.targets.nan_to_num(UNKNOWN), evaluation.targets.nan_to_num(UNKNOWN))
    if wrong := int((truths[0] != truths[1]).any(dim=1).sum()):
        raise InputError(f"{both} differ in the true tags of {wrong:,} images, and can't be compared: {same}")
    return replace(other, evaluation=evaluation)


def _names(folders: Sequence[Path]) -> list[str]:
    """Returns the shortest ends of the paths that differ, without the name of the evaluation if all have the same."""
    same = len({folder.name for folder in folders}) == 1
    parts = [(folder.parent if same else folder).parts for folder in folders]
    ends = (["/".join(each[-length:]) for each in parts] for length in count(1))
    return next(names for names in ends if len(set(names)) == len(names))
