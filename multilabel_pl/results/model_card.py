"""The card of a model, in Hugging Face's form (https://huggingface.co/docs/hub/model-cards)."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from multilabel_pl import __version__
from multilabel_pl.atomic import atomic_path
from multilabel_pl.messages import abridged
from multilabel_pl.model.evaluation import Evaluation
from multilabel_pl.results.origin import Origin
from multilabel_pl.results.text import as_markdown, utf_8

CARD = "MODEL_CARD.md"  # beside the report of a test
FEW = 30  # test images that carry a label, below which its figures are rough
WEAK = 0.5  # F1
DECIMALS = 6


def write_model_card(evaluation: Evaluation, text: str, origin: Origin, path: Path) -> None:
    """Writes what the users of a model should know of it: what it is for, how good it is, and where it is weak.

    Args:
        evaluation: Of the test images.
        text: Its report, in Markdown.
        origin: What was evaluated.
        path: Where to.
    """
    sections = [
        f"---\n{yaml.safe_dump(_front_matter(evaluation, origin), allow_unicode=True, sort_keys=False)}---",
        f"# {as_markdown(_name(origin))}",
        _description(origin),
        "## Intended use",
        _use(origin),
        "## Evaluation",
        f"On {as_markdown(origin.source)}: {text}",
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(evaluation, origin)),
    ]
    with atomic_path(path) as partial:
        partial.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _name(origin: Origin) -> str:
    return utf_8(origin.checkpoint.absolute().parent.name)


def _front_matter(evaluation: Evaluation, origin: Origin) -> dict[str, Any]:
    """Returns what Hugging Face reads, and the digest of the checkpoint that the card is of."""
    metrics = []
    measured = {name: each for name, each in evaluation.intervals.items() if evaluation.metrics[name].isfinite()}
    for name, interval in measured.items():
        value, *bounds = (
            round(part, DECIMALS) for part in (evaluation.metrics[name].item(), interval.low, interval.high)
        )
        metric = {"type": name, "name": name, "value": value}
        metrics.append(metric | ({"args": {"interval_95": bounds}} if math.isfinite(interval.low) else {}))
    return {
        "library_name": "multilabel_pl",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "multi-label", "pytorch-lightning"],
        "checkpoint_sha256": origin.digest,
        "model-index": [
            {
                "name": _name(origin),
                "results": [
                    {
                        "task": {"type": "image-classification", "name": "Multi-label image classification"},
                        "dataset": {"type": "images", "name": origin.source, "split": "test"},
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }


def _description(origin: Origin) -> str:
    options, task = origin.options, origin.task
    facts = {
        "network": options.get("network", "a module of its own"),
        "head": options["head"],
        "loss": options["loss"],
        "thresholds": options["threshold"] if isinstance(options["threshold"], str) else "as given",
        "calibrated": "yes" if options["calibrate"] else "no",
        "labels": f"{len(task.labels)}, listed below",
        "images": f"{task.shape_text} (channels, height, width), brought to it by `{task.preprocessing}`",
        "measured on": f"{datetime.now(UTC):%Y-%m-%d}, with multilabel_pl {__version__} and torch {torch.__version__}",
    }
    return "\n".join(f"- {name}: {as_markdown(str(fact))}" for name, fact in facts.items())


def _use(origin: Origin) -> str:
    """Says what the model is for, and how it is used."""
    learned = ", learned on validation images" if isinstance(origin.options["threshold"], str) else ""
    return (
        "The model gives an image every label whose probability reaches the label's threshold: any number of the "
        f"{len(origin.task.labels)} labels, or none. The thresholds are in the checkpoint{learned}. It is for images "
        "like those that it was trained on.\n\n"
        "```python\nfrom multilabel_pl import MultiLabelClassifier\n\n"
        f'model = MultiLabelClassifier.load_from_checkpoint("{utf_8(origin.checkpoint.name)}")\n'
        'print(model.predict_images("photo.jpg"))\n```'
    )


def _limits(evaluation: Evaluation, origin: Origin) -> Iterator[str]:
    """Yields where the model is weak, or little is known of it."""
    support = evaluation.truth.sum(dim=0)
    f1 = evaluation.label_decisions["f1"]

    def named(chosen: Tensor, values: Tensor) -> str:
        indices = chosen.nonzero()[:, 0].tolist()
        return as_markdown(abridged([f"{evaluation.labels[i]} ({values[i].item():.4g})" for i in indices]))

    if (weak := (f1 < WEAK) & (support > 0)).any():
        yield f"An F1 below {WEAK}: {named(weak, f1)}."
    if (rare := (support > 0) & (support < FEW)).any():
        yield f"Measured on fewer than {FEW} images that carry the label, so only roughly: {named(rare, support)}."
    if (absent := support == 0).any():
        yield f"Not measured, as no test image carries the label: {named(absent, support)}."
    if not evaluation.known.all():
        yield f"Measured on the {evaluation.known.float().mean():.1%} of decisions that are known."
    if origin.options["head"] == "softmax":
        yield "The softmax head lets the labels share one unit of probability: of several tags, none can be certain."
    error = evaluation.metrics["calibration_error"].item()
    yield f"A probability is off the share of positives by {error:.4f} on average (expected calibration error)."
    yield "Other kinds of images than these were not measured."
