"""The evaluations that are compared: read, named, and checked to be of the same images and labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from multilabel_pl.errors import InputError
from multilabel_pl.file_names import OUTPUTS
from multilabel_pl.messages import abridged
from multilabel_pl.model.comparison import in_order
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.nested import flat
from multilabel_pl.results.outputs import UNKNOWN, Outputs, read_outputs
from multilabel_pl.results.text import as_yaml

CONFIG = "config.yaml"  # in the folder of a run


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
    matched = [_matched(outputs[0], other, f"{folders[0]} and {folder}") for other, folder in pairs]
    options = [_read_options(folder.parent / CONFIG) for folder in resolved]
    return [ComparedRun(*run) for run in zip(_names(resolved), matched, options, strict=True)]


def differing_options(runs: Sequence[ComparedRun]) -> dict[str, list[str]]:
    """Returns the options that the runs don't share, with the value of each; none if a run has no configuration."""
    known = [run.options for run in runs if run.options is not None]
    if len(known) < len(runs):
        return {}
    names = dict.fromkeys(name for options in known for name in options)
    values = {name: [as_yaml(options.get(name)) for options in known] for name in names}
    return {name: each for name, each in values.items() if len(set(each)) > 1}


def _matched(first: Outputs, other: Outputs, both: str) -> Outputs:
    """Returns the other outputs with the labels in the order of the first ones."""
    labels, others = first.evaluation.labels, other.evaluation.labels
    if differing := sorted(set(labels) ^ set(others)):
        raise InputError(f"{both} have different labels, and can't be compared: one alone has {abridged(differing)}")
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


def _read_options(path: Path) -> dict[str, Any] | None:
    """Reads the options of a run; None if there is no file.

    Raises:
        InputError: If it is no configuration.
    """
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError("a few aliases can stand for more than any memory holds")
        return flat(yaml.safe_load(text))
    except (AttributeError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} is damaged: remove it, and the runs are compared without their options") from error
