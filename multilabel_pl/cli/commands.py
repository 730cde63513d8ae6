"""The commands, as their help describes them."""

import sys
from dataclasses import dataclass
from pathlib import Path

SCRIPT = "multilabel-pl"
OF_MNIST, OF_TABLES = "MNISTDataModule", "TableDataModule"  # classes of data, whose modules take seconds to import
OF_FILES, OF_SHARDS = "ImageFilesDataModule", "StreamingDataModule"
HELP = ("h", "help", "help-all")  # options that ask for it
ASKING = (*HELP, "version")
PROGRAM_OPTIONS = (*ASKING, "config", "print_completion", "print_config")  # of no command
_EVALUATION = ("model", "dataloaders", "datamodule")


@dataclass(frozen=True)
class Command:
    """A command: a method of the Trainer, or a function.

    Attributes:
        summary: What it does, in a line.
        operands: What may follow it without an option.
        examples: Commands, each with what it does.
        supplied: Parameters of the method that are not options, since the program supplies them; a function has none.
    """

    summary: str
    operands: str
    examples: dict[str, str]
    supplied: tuple[str, ...] = ()


COMMANDS = {
    "fit": Command(
        "Train on MNIST with its eleventh label, ≥5, or on your own images.",
        "[TABLE] [CHECKPOINT]",
        {
            "fit --model.head sigmoid": "the tutorial's network and task",
            "fit --config fast": "a recipe; --config alone lists them",
            "fit images.csv": "your own images, and a table of their tags",
            "fit images.csv --model.network resnet18": "with a network of timm's",
            "fit --ckpt_path last": "resume the newest run",
        },
        ("model", "train_dataloaders", "val_dataloaders", "datamodule"),
    ),
    "validate": Command(
        "Measure a checkpoint on the validation images.",
        "[CHECKPOINT] [TABLE]",
        {"validate": "the newest run's best checkpoint", "validate runs/version_3/last.ckpt": "another one"},
        _EVALUATION,
    ),
    "test": Command(
        "Measure a checkpoint on the test images: a report and figures.",
        "[CHECKPOINT] [TABLE]",
        {
            "test": "the newest run's best checkpoint",
            "test runs/version_3/best.ckpt": "another one",
            "test new.csv": "on images that it has never seen",
        },
        _EVALUATION,
    ),
    "predict": Command(
        "Tag images: a table of all, and a figure of some.",
        "[CHECKPOINT] [TABLE] [IMAGE…]",
        {
            "predict": "the test images",
            'predict a.jpg scans/ "more/**/*.png"': "image files, folders and patterns",
            "predict --list files.txt": "the files that a text file names, one on a line",
            "predict a.jpg --output tags.jsonl --figure true": "JSON, and a sheet of the images with their tags",
            "predict a.jpg --output why.csv --explain cat": "a figure of what in the image speaks for the label",
            "predict --list files.txt --output tags.parquet": "millions: the same command resumes what was stopped",
        },
        (*_EVALUATION, "return_predictions"),
    ),
    "tune": Command(
        "Learn the thresholds and the calibration of a checkpoint again, without training.",
        "[CHECKPOINT] [TABLE]",
        {
            "tune --threshold 'recall>=0.9' --output m.ckpt": "by another rule",
            "tune new.csv --calibrate true --output m.ckpt": "on other images, calibrated",
        },
        ("model", "datamodule"),
    ),
    "export": Command(
        "Write a checkpoint as a program of its own, in ONNX or in torch.export's format.",
        "[CHECKPOINT]",
        {"export": "best.onnx beside the newest run's best checkpoint", "export --output model.pt2": "torch.export"},
        ("model", "datamodule"),
    ),
    "optimize": Command(
        "Write the images of a table into shards, a few large files, for sets that outgrow one disk.",
        "[TABLE]",
        {
            "optimize images.csv --output shards": "then train on them: fit shards",
            "optimize images.csv --output s --data.image_size 224": "images are resized as for fit",
        },
        ("model", "datamodule"),
    ),
    "demo": Command(
        "Serve a page to draw on, or to upload images to, with a checkpoint's predictions.",
        "[CHECKPOINT]",
        {"demo": "the newest run's best checkpoint", "demo --beside other.ckpt": "another one's predictions beside"},
        ("model", "datamodule"),
    ),
    "serve": Command(
        "Serve a checkpoint, or a program in ONNX, over HTTP.",
        "[MODEL]",
        {
            "serve": "the newest run's best checkpoint, on this machine alone",
            "serve model.onnx --port 9000": "a program that export has written",
            "serve --host 0.0.0.0 --token_file token.txt": "for other machines, which must send the token",
        },
    ),
    "compare": Command(
        "Compare runs on the images that they were tested on: how their figures differ, and how certain that is.",
        "[RUN…]",
        {
            "compare": "the two newest runs that were tested",
            "compare 3 5 7": "runs/version_5 and runs/version_7 with runs/version_3",
            "compare a/best.ckpt b/best.ckpt": "the runs of checkpoints; or their folders",
            "compare 3 5 --output comparison.html": "as a page; or in Markdown, comparison.md",
        },
    ),
}


def program() -> str:
    """Returns the program's name: its script, which has completions, or its module."""
    return SCRIPT if Path(sys.argv[0]).name == SCRIPT else "python -m multilabel_pl"


def overview() -> str:
    """Returns the help of the program as a whole."""
    width = max(map(len, COMMANDS)) + 2
    return "\n".join(
        [
            f"usage: {program()} COMMAND [options]",
            "",
            "Multi-label image classification. Runs land in runs/version_N; other commands take the newest run's best",
            "checkpoint unless another one is named.",
            "",
            "commands:",
            *(f"  {name:{width}}{command.summary}" for name, command in COMMANDS.items()),
            "",
            "options:",
            f"  {'COMMAND --help':{28}}what the command takes, with examples",
            f"  {'--version':{28}}the version",
            f"  {'--print_completion SHELL':{28}}completions for shtab-bash, shtab-zsh, …; they need shtab",
        ]
    )
