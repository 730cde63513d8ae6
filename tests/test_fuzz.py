"""What users' files and options may hold: each parser reads it correctly or refuses it by its name.

`make fuzz` tries 10,000 examples of each property instead of 100.
"""

import csv
import gzip
import io
import json
import math
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import EarlyStopping

from multilabel_pl import MNISTDataModule, MultiLabelClassifier, StreamingDataModule, TableDataModule, Task, Trainer
from multilabel_pl.cli.main import main
from multilabel_pl.data.annotations.collecting import collect
from multilabel_pl.data.annotations.formats import read_annotations
from multilabel_pl.data.annotations.records import SPLITS, Entry
from multilabel_pl.data.annotations.tabular import TableFormat
from multilabel_pl.data.mnist import FILES, LABELS, LARGE_DIGIT, digit_targets, read_digits
from multilabel_pl.errors import InputError
from multilabel_pl.model.prediction import name_tags
from multilabel_pl.model.rules import Rule, fixed_thresholds
from multilabel_pl.training import programs
from multilabel_pl.training.checkpointing import BestCheckpoint, LastCheckpoint
from tests.conftest import BRIEF, QUIET, STACK
from tests.data.tagged_images import write_tagged
from tests.data.test_mnist import idx
from tests.mutations import changes, mutate, repacked

ANNOTATION_FILES = Path(__file__).parent / "fixtures" / "annotations"
patient = settings(deadline=None)  # a busy machine may take its time

IMAGES, DIGITS = FILES["test"]
VALID_IMAGES, VALID_DIGITS = idx((3, 4, 5), bytes(range(60))), idx((3,), bytes([0, 5, 9]))
VALID_TABLE = 'path,tags,split\na.png,cat|dog,train\n"b, c.png",,val\nd/e.png,"ca""t",test\n'
VALID_WIDE_TABLE = "path,cat,dog\na.png,0,1\nb.png,1,0\n"
VALID_RULES = ["f1", "exact_match", "precision>=0.9", " recall >= 1e-2 ", "recall>=0.9@0.95 jointly"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose files each example writes again."""
    return tmp_path_factory.mktemp("fuzz")


T = TypeVar("T")


def read_or_refused(parse: Callable[[], T], name: object) -> T | None:
    """Returns what a parser makes of its input; None if it refuses it, which it must do by its name."""
    try:
        return parse()
    except InputError as error:
        message = str(error)
    assert str(name) in message
    return None


Edit = Callable[[bytes], bytes]


def edits() -> st.SearchStrategy[Edit]:
    """Draws damage to a file: a byte is changed; some at the end or within are lost, some inserted or swapped."""
    place, length = st.floats(0, 1), st.integers(1, 8)  # as a share of the length

    def at(content: bytes, share: float) -> int:
        return int(share * len(content))

    def flip(share: float, byte: int) -> Edit:
        return lambda content: content[: at(content, share)] + bytes([byte]) + content[at(content, share) + 1 :]

    def truncate(share: float) -> Edit:
        return lambda content: content[: at(content, share)]

    def lose(share: float, size: int) -> Edit:
        return lambda content: content[: at(content, share)] + content[at(content, share) + size :]

    def insert(share: float, some: bytes) -> Edit:
        return lambda content: content[: at(content, share)] + some + content[at(content, share) :]

    def swap(share: float, size: int) -> Edit:
        def swapped(content: bytes) -> bytes:
            start = at(content, share)
            first, second = content[start : start + size], content[start + size : start + 2 * size]
            return content[:start] + second + first + content[start + 2 * size :]

        return swapped

    return st.one_of(
        st.builds(flip, place, st.integers(0, 255)),
        st.builds(truncate, place),
        st.builds(lose, place, length),
        st.builds(insert, place, st.binary(min_size=1, max_size=8)),
        st.builds(swap, place, length),
    )


def damaged(*valid: bytes) -> st.SearchStrategy[bytes]:
    """Draws a valid content with a few edits."""

    def edited(content: bytes, several: list[Edit]) -> bytes:
        for edit in several:
            content = edit(content)
        return content

    return st.builds(edited, st.sampled_from(valid), st.lists(edits(), min_size=1, max_size=3))


@patient
@given(
    images=st.binary(max_size=200) | damaged(VALID_IMAGES),
    digits=st.binary(max_size=50) | damaged(VALID_DIGITS) | st.just(VALID_DIGITS),
)
@example(images=VALID_IMAGES, digits=VALID_DIGITS)
def test_an_idx_file_is_read_or_refused(images: bytes, digits: bytes, folder: Path) -> None:
    (folder / IMAGES).write_bytes(images)
    (folder / DIGITS).write_bytes(digits)
    data = read_or_refused(lambda: read_digits(folder, "test"), folder)
    if data is None:
        return
    assert data.images.dtype == torch.uint8
    assert bytes(data.images.flatten().tolist()) == images[16:]  # nothing is left over, nothing is made up
    assert torch.equal(data.targets, digit_targets(torch.tensor(list(digits[8:]))))


@patient
@given(
    images=damaged(gzip.compress(VALID_IMAGES), gzip.compress(VALID_IMAGES, 0)) | st.binary(max_size=60),
    digits=damaged(gzip.compress(VALID_DIGITS)) | st.just(gzip.compress(VALID_DIGITS)),
)
def test_a_gzipped_idx_file_is_read_or_refused(images: bytes, digits: bytes, folder: Path) -> None:
    place = folder / "gzipped"
    place.mkdir(exist_ok=True)
    (place / f"{IMAGES}.gz").write_bytes(images)
    (place / f"{DIGITS}.gz").write_bytes(digits)
    data = read_or_refused(lambda: read_digits(place, "test"), place)
    assert data is None or bytes(data.images.flatten().tolist()) == gzip.decompress(images)[16:]


@patient
@given(
    digits=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    gzipped=st.booleans(),
    data=st.data(),
)
def test_an_idx_file_means_what_was_written(
    digits: list[int], size: tuple[int, int], gzipped: bool, data: st.DataObject, folder: Path
) -> None:
    height, width = size
    count = len(digits) * height * width
    pixels = data.draw(st.binary(min_size=count, max_size=count))
    contents = {IMAGES: idx((len(digits), *size), pixels), DIGITS: idx((len(digits),), bytes(digits))}
    place = folder / f"written {gzipped}"
    place.mkdir(exist_ok=True)
    for name, content in contents.items():
        (place / (f"{name}.gz" if gzipped else name)).write_bytes(gzip.compress(content) if gzipped else content)
    read = read_digits(place, "test")
    assert read.images.shape == (len(digits), 1, height, width)
    assert bytes(read.images.flatten().tolist()) == pixels
    assert [names[0] for names in name_tags(read.targets.bool(), LABELS)] == list(map(str, digits))


FORMATS = st.builds(
    TableFormat,
    st.sampled_from(["path", "tags"]),
    st.sampled_from(["tags", "split", "cat"]),
    st.sampled_from(["|", " ", ",", "ca"]),
    st.sampled_from(["split", "path"]),
)


@patient
@given(
    content=st.binary(max_size=80)
    | st.text(max_size=80).map(str.encode)
    | damaged(VALID_TABLE.encode(), VALID_WIDE_TABLE.encode(), VALID_TABLE.encode("utf-8-sig")),
    columns=st.just(TableFormat()) | FORMATS,
    labels=st.none() | st.lists(st.sampled_from(["cat", "dog", "path", ""]), min_size=1, max_size=3),
    suffix=st.sampled_from([".csv", ".tsv"]),
)
@example(content=VALID_TABLE.encode(), columns=TableFormat(), labels=None, suffix=".csv")
@example(content=VALID_WIDE_TABLE.encode(), columns=TableFormat(), labels=None, suffix=".csv")
def test_a_table_is_read_or_refused(
    content: bytes, columns: TableFormat, labels: list[str] | None, suffix: str, folder: Path
) -> None:
    table = folder / f"t{suffix}"
    table.write_bytes(content)
    found = read_or_refused(lambda: read_annotations(table, folder, columns, labels), table)
    if found is None:
        return
    assert found.files or found.problems
    assert all(Path(file).is_relative_to(folder) for file in found.files)
    sizes = {len(found), len(found.marks), len(found.splits), len(found.sources), len(found.places)}
    assert sizes == {len(found)}
    if not found.problems:
        assert found.labels
        assert (found.marks != -1).any(dim=0).all()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "name", "tags", "x"]), inner),
    max_leaves=5,
)
ANNOTATIONS = {path.suffix: path.read_bytes() for path in sorted(ANNOTATION_FILES.iterdir())}
VOC = b"<annotation><filename>a.png</filename><object><name>cat</name><difficult>0</difficult></object></annotation>"


@patient
@given(
    content=damaged(*(content for suffix, content in ANNOTATIONS.items() if suffix in (".json", ".jsonl", ".parquet"))),
    labels=st.none() | st.just(["cat", "dog"]),
)
def test_annotations_in_any_format_are_read_or_refused(content: bytes, labels: list[str] | None, folder: Path) -> None:
    table = folder / "t.any"
    table.write_bytes(content)
    found = read_or_refused(lambda: read_annotations(table, folder, TableFormat(), labels), table)
    assert found is None or found.files or found.problems


@patient
@given(
    part=st.sampled_from(["images", "annotations", "categories"]),
    place=st.integers(0, 2),
    name=st.sampled_from(["id", "file_name", "image_id", "category_id", "name", "neg_category_ids"]),
    value=JSON,
    whole=st.booleans(),
)
def test_coco_of_any_content_is_read_or_refused(
    part: str, place: int, name: str, value: object, whole: bool, folder: Path
) -> None:
    content = json.loads((ANNOTATION_FILES / "coco.json").read_bytes())
    if whole:
        content[part] = value
    else:
        content[part][place][name] = value
    table = folder / "coco.json"
    table.write_text(json.dumps(content), encoding="utf-8")
    found = read_or_refused(lambda: read_annotations(table, folder, TableFormat()), table)
    assert found is None or found.files or found.problems


@patient
@given(content=damaged(VOC) | st.binary(max_size=50))
@example(content=VOC)
def test_voc_is_read_or_refused(content: bytes, folder: Path) -> None:
    root = folder / "voc"
    root.mkdir(exist_ok=True)
    (root / "a.xml").write_bytes(content)
    found = read_or_refused(lambda: read_annotations(root, None, TableFormat()), root)
    assert found is None or len(found.files) + len(found.problems) == 1


def cell(without: str = "") -> st.SearchStrategy[str]:
    """Draws what a cell may hold and give back: it is stripped, and UTF-8 knows no surrogates."""
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=without), min_size=1, max_size=8)
    return text.filter(lambda each: each == each.strip())


IMAGE_ROWS = st.lists(
    st.tuples(
        cell("./\x00").map(lambda name: f"sub/{name}.png"),
        st.lists(cell("|?[]"), unique=True, max_size=3),
        st.sampled_from(["train", "val", "test"]),
    ),
    min_size=1,
    max_size=5,
)


@patient
@given(rows=IMAGE_ROWS, suffix=st.sampled_from([".csv", ".tsv"]), encoding=st.sampled_from(["utf-8", "utf-8-sig"]))
def test_a_table_means_what_was_written(
    rows: list[tuple[str, list[str], str]], suffix: str, encoding: str, folder: Path
) -> None:
    table = folder / f"written{suffix}"
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t" if suffix == ".tsv" else ",")
    writer.writerows([["split", "path", "tags"], *([split, path, "|".join(tags)] for path, tags, split in rows)])
    table.write_bytes(text.getvalue().encode(encoding))
    names = sorted({tag for _, tags, _ in rows for tag in tags})
    if not names:
        with pytest.raises(InputError, match="has no tag: name labels"):
            read_annotations(table, folder, TableFormat())
        return
    found = read_annotations(table, folder, TableFormat())
    assert found.problems == []
    assert found.labels == names
    assert found.files == [str(folder / path) for path, _, _ in rows]
    assert [SPLITS[code] for code in found.splits.tolist()] == [split for _, _, split in rows]
    assert name_tags(found.marks > 0, names) == [sorted(tags) for _, tags, _ in rows]


@patient
@given(
    tags=st.lists(st.lists(st.sampled_from("abc"), unique=True), min_size=1, max_size=6),
    labels=st.permutations("abc"),
)
def test_tags_become_targets_and_names_again(tags: list[list[str]], labels: list[str]) -> None:
    entries = [Entry("t.csv, line", line, f"{line}.png", each) for line, each in enumerate(tags, 2)]
    found = collect(Path("t.csv"), entries, Path(), labels)
    assert name_tags(found.marks > 0, labels) == [[label for label in labels if label in each] for each in tags]


@patient
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_digits_become_targets_and_names_again(digits: list[int]) -> None:
    expected = [[str(digit), *["≥5"] * (digit >= LARGE_DIGIT)] for digit in digits]
    assert name_tags(digit_targets(torch.tensor(digits)).bool(), LABELS) == expected


@patient
@given(
    st.text()
    | damaged(*map(str.encode, VALID_RULES)).map(lambda rule: rule.decode(errors="replace"))
    | st.from_regex(r"(precision|recall)>=[0-9.e+-]+(@[0-9.e+-]+( jointly)?)?", fullmatch=True)
)
def test_a_rule_is_read_or_refused(text: str) -> None:
    rule = read_or_refused(lambda: Rule.parse(text), text)
    if rule is None:
        return
    assert 0 <= rule.minimum <= 1
    words = text.replace(" ", "")
    if rule.metric not in ("precision", "recall"):
        assert words == rule.metric
        return
    name, numbers = words.split(">=")
    number, _, confidence = numbers.removesuffix("jointly").partition("@")
    assert (rule.metric, rule.minimum, rule.jointly) == (name, float(number), numbers.endswith("jointly"))
    assert rule.confidence == (float(confidence) if confidence else None)


@patient
@given(st.sampled_from(["precision", "recall"]), st.floats(0, 1))
def test_a_rule_means_what_was_written(metric: str, minimum: float) -> None:
    rule = Rule.parse(f"{metric}>={minimum!r}")
    assert (rule.metric, rule.minimum) == (metric, minimum)


@patient
@given(threshold=st.floats() | st.integers() | st.lists(st.floats(-0.5, 1.5)), num_labels=st.integers(1, 5))
def test_thresholds_are_as_given_or_refused(threshold: Any, num_labels: int) -> None:
    given_values = threshold if isinstance(threshold, list) else [threshold] * num_labels
    valid = len(given_values) == num_labels and all(0 <= value <= 1 for value in given_values)
    if not valid:
        with pytest.raises(InputError, match="threshold"):
            fixed_thresholds(threshold, num_labels)
        return
    values = fixed_thresholds(threshold, num_labels).tolist()
    assert all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-30) for a, b in zip(values, given_values, strict=True))


def trainer_in(place: Path) -> Trainer:
    """Returns a trainer of as little as may be, with all callbacks that save something."""
    stopping = EarlyStopping("val_loss", check_on_train_epoch_end=False)
    return Trainer(
        accelerator="cpu",
        max_epochs=3,
        limit_train_batches=3,
        limit_val_batches=1,
        limit_test_batches=1,
        limit_predict_batches=1,
        callbacks=[BestCheckpoint(dirpath=str(place)), LastCheckpoint(dirpath=str(place)), stopping],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def use(command: str, checkpoint: Path, data_dir: str) -> None:
    """Uses a checkpoint as a command would, but without the parser, which takes most of its time."""
    data = MNISTDataModule(data_dir=data_dir, val_size=100, batch_size=16, eval_batch_size=16)
    if command == "load":
        MultiLabelClassifier.load_from_checkpoint(checkpoint).predict_images(torch.zeros(1, 28, 28, dtype=torch.uint8))
        return
    model = MultiLabelClassifier(network="conv_stack", lr_schedule="one_cycle", calibrate=True)
    model.bind(Task(LABELS, (1, 28, 28)))
    options: dict[str, Any] = {"output": str(checkpoint.with_suffix(".csv"))} if command == "predict" else {}
    options |= {"figures": False} if command in ("test", "validate") else {}
    trainer = trainer_in(checkpoint.parent / "new")
    getattr(trainer, command)(model, datamodule=data, ckpt_path=str(checkpoint), **options)


def on_the_command_line(command: str, checkpoint: Path, data_dir: str) -> None:
    """Uses a checkpoint by the command line, with the data that it records."""
    words = {
        "fit": [*STACK, *BRIEF, "--trainer.max_epochs", "3"],
        "test": ["--figures", "false"],
        "validate": ["--figures", "false"],
        "predict": ["--figure", "false", "--output", str(checkpoint.with_suffix(".csv"))],
    }.get(command, [])
    brief = ["--trainer.accelerator", "cpu", "--trainer.limit_test_batches", "1"]
    place = ["--trainer.default_root_dir", str(checkpoint.parent / "runs"), "--ckpt_path", str(checkpoint)]
    status, errors = 0, io.StringIO()
    try:
        with redirect_stderr(errors):
            main([command, *QUIET, *words, *brief, *place])
    except SystemExit as ended:
        status = int(str(ended.code))
    if status:
        assert (status, errors.getvalue().splitlines()[-1][:7]) == (2, "error: ")


MUTATIONS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["change", "change", "change", "remove", "copy", "add"]),
        changes(),
        st.floats(0, 1, exclude_max=True),
    ),
    min_size=1,
    max_size=2,
)
USES = st.sampled_from(["load", "fit", "fit", "fit", "validate", "test", "predict", "export"])
CHECKPOINTS = st.sampled_from(["last.ckpt", "last.ckpt", "best.ckpt", "old.ckpt"])


@pytest.fixture(scope="module")
def checkpoints(stack_run: Path) -> dict[str, Path]:
    """Checkpoints of today and of version 0.1.0."""
    old = Path(__file__).parent / "fixtures" / "conv_stack_0.1.0.ckpt"
    return {**{name: stack_run / name for name in ("last.ckpt", "best.ckpt")}, "old.ckpt": old}


@pytest.fixture
def _no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what makes a program of a model, which takes seconds and sees nothing of the file."""
    monkeypatch.setattr(programs, "export", lambda model, images, *_: float(model.tag(images)[0].detach().sum()))


ONE_FIXTURE = settings(patient, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.parametrize("command", ["load", "fit", "validate", "test", "predict", "export"])
@pytest.mark.usefixtures("_no_program")
def test_a_checkpoint_that_is_left_alone_is_used(
    command: str, checkpoints: dict[str, Path], folder: Path, small_set: str
) -> None:
    (folder / "x.ckpt").write_bytes(checkpoints["last.ckpt"].read_bytes())
    use(command, folder / "x.ckpt", small_set)


@settings(ONE_FIXTURE, max_examples=settings().max_examples // 2)  # since training takes its time
@given(name=CHECKPOINTS, command=USES, mutations=MUTATIONS)
@pytest.mark.usefixtures("_no_program")
@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_any_content_is_used_or_refused(
    name: str,
    command: str,
    mutations: list[Any],
    checkpoints: dict[str, Path],
    folder: Path,
    small_set: str,
) -> None:
    content = torch.load(checkpoints[name], weights_only=True)
    for mutation in mutations:
        mutate(content, *mutation)
    torch.save(content, folder / "x.ckpt")
    with suppress(InputError):
        use(command, folder / "x.ckpt", small_set)


@settings(ONE_FIXTURE, max_examples=settings().max_examples // 10)  # since the parser takes its time
@given(name=CHECKPOINTS, command=st.sampled_from(["fit", "test", "predict", "validate", "export"]), mutations=MUTATIONS)
@pytest.mark.usefixtures("_no_program")
@pytest.mark.filterwarnings("ignore")
def test_a_command_uses_a_checkpoint_of_any_content_or_refuses_it(
    name: str, command: str, mutations: list[Any], checkpoints: dict[str, Path], folder: Path, small_set: str
) -> None:
    content = torch.load(checkpoints[name], weights_only=True)
    content["datamodule_hyper_parameters"] |= {"data_dir": small_set, "val_size": 100}
    for mutation in mutations:
        mutate(content, *mutation)
    torch.save(content, folder / "x.ckpt")
    on_the_command_line(command, folder / "x.ckpt", small_set)


@patient
@given(name=CHECKPOINTS, several=st.lists(edits(), min_size=1, max_size=3), repairs=st.booleans())
@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_any_bytes_is_read_or_refused(
    name: str, several: list[Edit], repairs: bool, checkpoints: dict[str, Path], folder: Path
) -> None:
    def edit(content: bytes) -> bytes:
        for each in several:
            content = each(content)
        return content

    file = checkpoints[name].read_bytes()
    path = folder / "bytes.ckpt"
    path.write_bytes(repacked(file, edit) if repairs else edit(file))
    read_or_refused(lambda: MultiLabelClassifier.load_from_checkpoint(path), path)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of a few images."""
    pytest.importorskip("litdata")
    place = tmp_path_factory.mktemp("shards")
    data = TableDataModule(table=write_tagged(place, 12), image_size=8, val_size=3, test_size=3)
    Trainer(logger=False, enable_checkpointing=False).optimize(datamodule=data, output=str(place / "whole"))
    return place / "whole"


def read_shards(folder: Path) -> int:
    """Reads all there is in a folder, and returns the number of images."""
    data = StreamingDataModule(str(folder))
    for stage in ("fit", "test"):
        data.setup(stage)
    data.state_dict()
    sets = [images for images in (data.train_set, data.val_set, data.test_set) if images is not None]
    for images in sets:
        images.__getitems__(list(range(len(images))))
    return sum(len(images.targets) for images in sets)


def changed_shards(shards: Path, name: str, content: bytes) -> Path:
    """Returns a copy of shards in which one file has another content."""
    folder = shards.with_name("copy")
    shutil.copytree(shards, folder, dirs_exist_ok=True)
    (folder / name).write_bytes(content)
    return folder


SHARD_FILES = st.sampled_from(
    ["task.json", "train/index.json", "train/hashes.npy", "train/chunk-0-0.bin", "test/names.json"]
)


def test_shards_that_are_left_alone_are_read(shards: Path) -> None:
    assert read_shards(shards) == 12


@patient
@given(name=SHARD_FILES, several=st.lists(edits(), min_size=1, max_size=2))
@example(name="train/hashes.npy", several=[lambda content: content.replace(b"e': (", b"e (':")])
def test_shards_of_any_bytes_are_read_or_refused(name: str, several: list[Edit], shards: Path) -> None:
    content = (shards / name).read_bytes()
    for edit in several:
        content = edit(content)
    folder = changed_shards(shards, name, content)
    read_or_refused(lambda: read_shards(folder), folder)


@patient
@given(name=st.sampled_from(["task.json", "train/index.json", "test/names.json"]), mutations=MUTATIONS)
@example(name="task.json", mutations=[(0.24, "remove", None, 0.0)])
def test_shards_of_any_content_are_read_or_refused(name: str, mutations: list[Any], shards: Path) -> None:
    whole: dict[str, Any] = {"content": json.loads((shards / name).read_bytes())}
    for mutation in mutations:
        if whole:
            mutate(whole, *mutation)
    text = json.dumps(whole.get("content"), default=str, skipkeys=True)
    folder = changed_shards(shards, name, text.encode(errors="surrogatepass"))
    read_or_refused(lambda: read_shards(folder), folder)
