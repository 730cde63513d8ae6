import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from multilabel_pl.cli.main import main
from multilabel_pl.data.annotations.formats import WANTED, read_annotations
from multilabel_pl.data.annotations.records import SPLITS, AnnotationError, Annotations
from multilabel_pl.data.annotations.tabular import TableFormat
from multilabel_pl.errors import InputError
from multilabel_pl.model.prediction import name_tags
from tests.conftest import BRIEF, QUIET
from tests.data.tagged_images import write_images

FIXTURES = Path(__file__).parents[2] / "fixtures" / "annotations"  # written by the tools that users have
TAGS = {"img/a.png": ["dog", "cat"], "img/b.png": [], "img/ü c.png": ["größe $5"], "img/d.png": ["dog"]}


def read(path: Path | str, images: Path | None = None, labels: list[str] | None = None) -> Annotations:
    return read_annotations(Path(path), images, TableFormat(), labels)


def tags_in(found: Annotations, folder: Path) -> dict[str, set[str]]:
    """Returns the tags of each image, by its path from a folder; `?cat` where that is unknown."""
    assert found.problems == []
    paths = [os.path.relpath(file, folder) for file in found.files]
    certain, unknown = (name_tags(marks, found.labels) for marks in (found.marks > 0, found.marks < 0))
    return {
        path: {*tags, *(f"?{label}" for label in doubtful)}
        for path, tags, doubtful in zip(paths, certain, unknown, strict=True)
    }


def message(path: Path | str, labels: list[str] | None = None) -> str:
    try:
        found = read(path, labels=labels)
    except InputError as error:
        return str(error)
    return str(AnnotationError(found.problems))


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.iterdir() if path.suffix not in (".py", ".txt")))
def test_files_are_read_as_usual_tools_write_them(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    found = read(FIXTURES / name)
    assert tags_in(found, FIXTURES) == {path: set(tags) for path, tags in TAGS.items()}
    in_order = any(word in name for word in ("booleans", "floats", "records", "coco"))
    assert found.labels == (["dog", "cat", "größe $5"] if in_order else ["cat", "dog", "größe $5"])
    index = (
        f"note: {FIXTURES / name}: the first column is taken for the numbers of rows that pandas writes, and left out"
    )
    assert capsys.readouterr().err == (f"{index}\n" if name == "pandas_index.csv" else "")


@pytest.mark.parametrize(
    "cell", ["['cat', 'dog']", '["cat", "dog"]', "['cat' 'dog']", "['cat'\n 'dog']", "cat|dog", " dog | cat "]
)
def test_lists_of_tags_are_understood_however_they_are_written(cell: str, workplace: Path) -> None:
    quoted = cell.replace('"', '""')
    Path("t.csv").write_text(f'path,tags\na.png,"{quoted}"\nb.png,[]\n', newline="")
    assert tags_in(read("t.csv"), workplace) == {"a.png": {"cat", "dog"}, "b.png": set()}


def test_numbers_in_lists_of_tags_keep_their_zeros(workplace: Path) -> None:
    Path("t.csv").write_text('path,tags\na.png,"[010, 007]"\nb.png,[00]\nc.png,[7 0]\n')
    assert tags_in(read("t.csv"), workplace) == {"a.png": {"010", "007"}, "b.png": {"00"}, "c.png": {"7", "0"}}


def test_the_index_that_pandas_writes_in_parquet_is_no_label(workplace: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"path": ["a.png", "b.png"], "cat": [1, 0], "dog": [0, 1], "__index_level_0__": [17, 4]}
    parquet.write_table(pyarrow.table(columns), "t.parquet")
    found = read("t.parquet")
    assert found.labels == ["cat", "dog"]
    assert tags_in(found, workplace) == {"a.png": {"cat"}, "b.png": {"dog"}}
    columns["__index_level_0__"] = columns.pop("path")  # of a table with the paths as its index
    parquet.write_table(pyarrow.table(columns), "t.parquet")
    found = read_annotations(Path("t.parquet"), None, TableFormat(path_column="__index_level_0__"))
    assert tags_in(found, workplace) == {"a.png": {"cat"}, "b.png": {"dog"}}


def test_other_names_of_columns_are_taken_where_they_are_alone(workplace: Path) -> None:
    Path("t.csv").write_text("fname,labels,is_valid\na.png,cat,False\nb.png,dog,True\n")  # fastai's
    found = read("t.csv")
    assert tags_in(found, workplace) == {"a.png": {"cat"}, "b.png": {"dog"}}
    assert [SPLITS[code] for code in found.splits.tolist()] == ["train", "val"]
    Path("t.csv").write_text("fname,filename,tags\na.png,b.png,cat\n")
    assert message("t.csv").startswith("t.csv has no column path, but fname, filename, tags")


def test_unknown_labels_are_those_left_out_in_json(workplace: Path) -> None:
    lines = [{"path": "a.png", "cat": 1}, {"path": "b.png", "cat": None, "dog": False}, {"path": "c.png", "dog": True}]
    Path("t.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    found = read("t.jsonl")
    assert tags_in(found, workplace) == {"a.png": {"cat", "?dog"}, "b.png": {"?cat"}, "c.png": {"?cat", "dog"}}
    assert found.places.tolist() == [1, 3, 5]


def test_hugging_faces_folders_have_a_metadata_file_each(workplace: Path) -> None:
    for split, tags in (("train", "cat|dog"), ("test", "dog")):
        (workplace / "set" / split).mkdir(parents=True)
        (workplace / "set" / split / "metadata.csv").write_text(f"file_name,tags\na.png,{tags}\n")
    found = read("set")
    assert tags_in(found, workplace / "set") == {"train/a.png": {"cat", "dog"}, "test/a.png": {"dog"}}
    assert [SPLITS[code] for code in found.splits.tolist()] == ["train", "test"]
    (workplace / "set" / "test" / "metadata.csv").write_text("file_name,tags\na.png,owl\n")
    assert message("set").startswith("set/test/metadata.csv, line 2: owl is none of the labels")


def test_images_of_coco_lie_in_the_folder_that_the_name_says(workplace: Path) -> None:
    for name in ("annotations", "val2017"):
        (workplace / "coco" / name).mkdir(parents=True)
    path = Path(shutil.copy(FIXTURES / "coco.json", "coco/annotations/instances_val2017.json"))
    assert list(tags_in(read(path), workplace / "coco" / "val2017")) == list(TAGS)
    assert list(tags_in(read(path, Path("elsewhere")), workplace / "elsewhere")) == list(TAGS)
    few = read(path, labels=["cat"])
    assert set(map(frozenset, tags_in(few, workplace).values())) == {frozenset(["cat"]), frozenset()}


def test_categories_that_lvis_has_not_looked_for_are_unknown(workplace: Path) -> None:
    content = json.loads((FIXTURES / "coco.json").read_text(encoding="utf-8"))
    numbers = {category["name"]: category["id"] for category in content["categories"]}
    for image in content["images"]:
        image["neg_category_ids"] = [numbers["cat"]] if image["file_name"] == "img/b.png" else list(numbers.values())
    Path("lvis.json").write_text(json.dumps(content))
    expected = {**{path: set(tags) for path, tags in TAGS.items()}, "img/b.png": {"?dog", "?größe $5"}}
    assert tags_in(read("lvis.json"), workplace) == expected


VOC = """<annotation><folder>VOC2012</folder><filename>{name}.jpg</filename><size><width>5</width></size>{objects}
</annotation>"""
OBJECT = "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>1</xmin></bndbox></object>"


def write_voc(root: Path, objects: dict[str, list[tuple[str, int]]]) -> None:
    (root / "Annotations").mkdir(parents=True)
    for name, found in objects.items():
        text = VOC.format(name=name, objects="".join(OBJECT.format(*each) for each in found))
        (root / "Annotations" / f"{name}.xml").write_text(text)


def test_objects_of_pascal_voc_are_tags_and_difficult_ones_unknown(workplace: Path) -> None:
    objects = {"0001": [("cat", 0), ("cat", 1), ("dog", 1)], "0002": [], "0003": [("dog", 0), ("dog", 0)]}
    write_voc(workplace / "voc", objects)
    expected = {"0001.jpg": {"cat", "?dog"}, "0002.jpg": set(), "0003.jpg": {"dog"}}
    assert tags_in(read("voc"), workplace / "voc") == expected
    (workplace / "voc" / "JPEGImages").mkdir()
    (workplace / "voc" / "ImageSets" / "Main").mkdir(parents=True)
    for split, names in {"train": "0001\n0002\n", "val": "0003\n", "trainval": "0001\n0002\n0003\n"}.items():
        (workplace / "voc" / "ImageSets" / "Main" / f"{split}.txt").write_text(names)
    found = read("voc")
    assert tags_in(found, workplace / "voc" / "JPEGImages") == expected
    assert [SPLITS[code] for code in found.splits.tolist()] == ["train", "train", "val"]
    assert tags_in(read("voc/Annotations", Path()), workplace) == expected


def test_lists_of_pascal_voc_name_images_as_they_are_called(workplace: Path) -> None:
    names = ["0001", "0002", "0003", "my photo", "my photo 1", "my photo 2"]
    write_voc(workplace / "voc", {name: [("cat", 0)] for name in names})
    Path("voc/Annotations/0003.xml").rename(os.fsdecode(b"voc/Annotations/lat\xe9in.xml"))
    Path("voc/ImageSets/Main").mkdir(parents=True)
    lists = {
        "train": b"0001  1\nmy photo\n",
        "val": b"\xef\xbb\xbf0002 -1\r\n",
        "test": b"my photo 1\nlat\xe9in\nmy photo 2 -1\n",
    }
    for split, content in lists.items():
        Path(f"voc/ImageSets/Main/{split}.txt").write_bytes(content)
    found = read("voc")
    splits = {Path(file).stem: SPLITS[code] for file, code in zip(found.files, found.splits.tolist(), strict=True)}
    assert splits == dict(zip(names, ["train", "val", "test", "train", "test", "test"], strict=True))


def test_an_image_in_several_class_folders_has_several_tags(workplace: Path) -> None:
    images = list({(workplace / path).read_bytes(): None for path, _ in write_images(workplace, 10)})  # no two equal
    folders = {
        "cat/a.png": 0,
        "cat/sub/b.PNG": 1,
        "dog/a.png": 2,
        "dog/other name.png": 0,
        "owl/c.png": 3,
        ".x/d.png": 4,
    }
    for path, image in folders.items():
        (workplace / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        (workplace / "set" / path).write_bytes(images[image])
    (workplace / "set" / "cat" / "notes.txt").write_text("no image")
    (workplace / "set" / "empty").mkdir()
    expected = {"cat/a.png": {"cat", "dog"}, "cat/sub/b.PNG": {"cat"}, "dog/a.png": {"dog"}, "owl/c.png": {"owl"}}
    found = read("set")
    assert tags_in(found, workplace / "set") == expected
    assert found.labels == ["cat", "dog", "owl"]
    assert list(tags_in(read("set", labels=["owl"]), workplace / "set").values()) == [set(), set(), set(), {"owl"}]
    (workplace / "parts").mkdir()
    for split in ("train", "valid"):
        shutil.copytree("set", f"parts/{split}")
    both = read("parts")
    assert len(both) == 8
    assert [SPLITS[code] for code in both.splits.tolist()] == ["train"] * 4 + ["val"] * 4


def test_several_folders_of_one_split_are_taken_together(workplace: Path) -> None:
    names = ["train/cat", "training/cat", "val/cat", "dev/cat", "dev/dog"]
    tagged = (path for path, tags in write_images(workplace, 10) if tags)  # no two equal
    for name, path in zip(names, tagged, strict=False):
        Path("set", name).mkdir(parents=True)
        shutil.copy(path, Path("set", name, "a.png"))
        Path("tables", name).mkdir(parents=True)
        (Path("tables", name).parent / "metadata.csv").write_text("file_name,tags\ncat/a.png,cat\n")
    found = read("set")
    codes = dict(zip(tags_in(found, workplace / "set"), found.splits.tolist(), strict=True))
    assert codes == {f"{name}/a.png": SPLITS.index("train" if "train" in name else "val") for name in names}
    assert tags_in(found, workplace / "set")["dev/cat/a.png"] == {"cat"}
    parts = read("tables")
    assert len(parts) == 4
    assert [SPLITS[code] for code in parts.splits.tolist()] == ["train", "val", "train", "val"]


def write_classes(*folders: str) -> None:
    for folder in folders:
        Path("set", folder).mkdir(parents=True)
        shutil.copy("a.png", Path("set", folder))


CLASSES = {
    "a split beside others": (
        ["train/cat", "test/cat", "extra/cat"],
        "set has folders of splits, such as test, and beside them extra with images: "
        "name it train, val, test, or move it away",
    ),
    "splits of other names": (
        ["training_set/cat", "test_set/cat", "test_set/dog"],
        "set/test_set and set/training_set both have a folder cat: if they are splits, name them train, val, test; "
        "if not, rename one of these",
    ),
}


@pytest.mark.parametrize("name", CLASSES)
def test_folders_that_may_be_splits_or_classes_are_refused(name: str, workplace: Path) -> None:
    write_images(workplace, 1)
    shutil.copy("images/000.png", "a.png")
    folders, expected = CLASSES[name]
    write_classes(*folders)
    assert message("set") == expected


def test_a_class_may_have_the_name_of_a_split_or_folders_of_its_own(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(workplace, 1)
    shutil.copy("images/000.png", "a.png")
    write_classes("train", "bus/red", "bus/blue", "car/small")
    assert read("set").labels == ["bus", "car", "train"]
    assert capsys.readouterr().err == ""
    shutil.copy("a.png", "set")
    shutil.copy("a.png", "set/._a.png")
    assert read("set").labels == ["bus", "car", "train"]
    note = "note: set: images outside of the folders of classes have no label, and are left out: 1\n"
    assert capsys.readouterr().err == note


def test_a_class_may_be_called_runs_but_our_own_runs_are_none(workplace: Path) -> None:
    write_images(workplace, 1)
    shutil.copy("images/000.png", "a.png")
    write_classes("jumps", "runs", "walks")
    assert read("set").labels == ["jumps", "runs", "walks"]
    Path("set").rename("classes")
    write_classes("train/jumps", "train/runs", "test/runs", "runs/version_0/test")
    assert set(tags_in(read("set"), workplace / "set")) == {"train/jumps/a.png", "test/runs/a.png"}
    assert read("set").labels == ["jumps", "runs"]


def test_folders_of_coco_name_their_files(workplace: Path) -> None:
    for name in ("coco/annotations", "coco/train2017"):
        Path(name).mkdir(parents=True)
    write_images(workplace / "coco" / "train2017", 1)
    for name in ("captions_train2017", "instances_train2017", "instances_val2017"):
        shutil.copy(FIXTURES / "coco.json", f"coco/annotations/{name}.json")
    example = "coco/annotations/instances_train2017.json"
    assert message("coco") == f"coco has files of COCO: name one, such as {example}"


def test_roboflows_folders_are_read(workplace: Path) -> None:
    for split in ("train", "valid"):
        Path("coco", split).mkdir(parents=True)
        shutil.copy(FIXTURES / "coco.json", f"coco/{split}/_annotations.coco.json")
        Path("marks", split).mkdir(parents=True)
        Path("marks", split, "_classes.csv").write_text(f"filename, cat, dog\n{split}.jpg, 1, 0\n")
    found = read("coco")
    assert tags_in(found, workplace / "coco" / "train").items() >= {p: set(tags) for p, tags in TAGS.items()}.items()
    assert len(found) == 2 * len(TAGS)
    found = read("marks")
    assert tags_in(found, workplace / "marks") == {"train/train.jpg": {"cat"}, "valid/valid.jpg": {"cat"}}
    assert [SPLITS[code] for code in found.splits.tolist()] == ["train", "val"]


def changed_coco(change: Callable[[dict[str, list[dict[str, object]]]], object]) -> str:
    content = json.loads((FIXTURES / "coco.json").read_text(encoding="utf-8"))
    change(content)
    return json.dumps(content)


COCO_MISTAKE = "t.json is not as COCO has it: "
MISTAKES: dict[str, tuple[str, str | bytes, str]] = {
    "gzip": ("t.csv", b"\x1f\x8b\x08", f"t.csv is compressed by gzip: {WANTED}"),
    "a workbook": ("t.xlsx", b"PK\x03\x04", f"t.xlsx is an Excel workbook or a ZIP archive: {WANTED}"),
    "one XML file": ("t.xml", VOC, f"t.xml is XML or HTML: {WANTED}"),
    "a dictionary": (
        "t.json",
        '{\n"a.png": ["cat"]}',
        f"t.json has a.png in JSON, but not images, annotations and categories as COCO: {WANTED}",
    ),
    "cut JSON": ("t.json", '[{"path": "a.png"', "t.json is not in JSON: Expecting ',' delimiter: line 1 column 18"),
    "a list of names": (
        "t.json",
        '["a.png"]',
        't.json, record 1: must be an object such as {"path": "a.png", "tags": ["cat"]}',
    ),
    "no records": ("t.json", "[]", "t.json is empty: it must have a header, and a line for each image"),
    "a broken line": (
        "t.jsonl",
        '{"path": "a.png", "tags": ["cat"]}\n\n{"path"\n',
        "t.jsonl, line 3: is not JSON: Expecting ':' delimiter: line 2 column 1 (char 8)",
    ),
    "a line of another kind": (
        "t.jsonl",
        '{"path": "a.png", "tags": ["cat"]}\n["b.png"]\n',
        't.jsonl, line 2: must be an object such as {"path": "a.png", "tags": ["cat"]}',
    ),
    "a line not in UTF-8": (
        "t.jsonl",
        b'{"path": "a.png", "tags": ["cat"]}\n' * 1000 + b'{"path": "\xff.png", "tags": []}\n',
        "t.jsonl is not a text in UTF-8",
    ),
    "another key": (
        "t.jsonl",
        '{"image": "a.png", "tags": ["cat"]}\n',
        "t.jsonl has no column path, but image, tags: name that of the paths with --data.path_column",
    ),
    "a record without a path": (
        "t.jsonl",
        '{"path": "a.png", "tags": ["cat"]}\n{"path": null, "tags": []}\n',
        "t.jsonl, line 2: has no path",
    ),
    "a damaged Parquet file": ("t.parquet", b"PAR1" + b"x" * 50, "t.parquet is a damaged Parquet file: "),
    "COCO without a category": (
        "t.json",
        changed_coco(lambda content: content["categories"].pop()),
        f"{COCO_MISTAKE}7 is missing or refers to nothing",
    ),
    "COCO without a name": (
        "t.json",
        changed_coco(lambda content: content["images"][0].pop("file_name")),
        f"{COCO_MISTAKE}'file_name' is missing or refers to nothing",
    ),
    "COCO of another kind": (
        "t.json",
        '{"images": 3, "annotations": [], "categories": {}}',
        f"{COCO_MISTAKE}'int' object is not iterable",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_can_not_be_read_is_called_what_it_is(name: str, workplace: Path) -> None:
    path, content, expected = MISTAKES[name]
    if path.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message(path).startswith(expected)


def test_mistakes_in_folders_are_named(workplace: Path) -> None:
    (workplace / "empty").mkdir()
    expected = "metadata.csv, XML files of Pascal VOC, or a folder of images for each class"
    assert message("empty") == f"empty is a folder without {expected}"
    write_voc(workplace / "voc", {"1": [("cat", 0)], "2": [("", 0)]})
    (workplace / "voc" / "Annotations" / "3.xml").write_text("<annotation>")
    (workplace / "voc" / "Annotations" / "4.xml").write_text("<html></html>")
    assert message("voc").splitlines() == [
        "voc/Annotations/2.xml: has an <object> without a <name>",
        "voc/Annotations/3.xml: is not XML: no element found: line 1, column 12",
        "voc/Annotations/4.xml: is not as VOC has it: <annotation> with a <filename> is missing",
    ]
    assert (
        message(FIXTURES / "coco.json", ["owl"]) == f"{FIXTURES}/coco.json has no category owl, but dog, cat, größe $5"
    )


def test_an_unreadable_file_is_called_so(workplace: Path) -> None:
    os.mkfifo("pipe.csv")
    assert message("pipe.csv") == "there is no table pipe.csv: name it with --data.table"


def test_a_folder_of_classes_is_trained_on_and_tested(workplace: Path) -> None:
    for path, tags in write_images(workplace, 60):
        for tag in tags:
            (workplace / "set" / tag).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, workplace / "set" / tag)
    main(["fit", "set", *QUIET, *BRIEF, "--data.image_size", "16", "--data.num_workers", "0"])
    main(["test", *QUIET, "--figures", "false"])
    report = (workplace / "runs" / "version_0" / "test" / "report.md").read_text(encoding="utf-8")
    assert report.startswith(f"# test of runs/version_0/best.ckpt on {workplace}/set")
    assert "| ≥5 " in report


@pytest.mark.parametrize("cache", ["false", "true"])
def test_names_of_files_need_not_be_in_utf_8(cache: str, workplace: Path) -> None:
    for path, tags in write_images(workplace, 40):
        for tag in tags[:1]:
            (workplace / "set" / tag).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, workplace / "set" / tag / (os.fsdecode(b"lat\xe9in ") + Path(path).name))
    words = ["--data.image_size", "16", "--data.num_workers", "0", "--data.cache", cache]
    main(["fit", "set", *QUIET, *BRIEF, *words])
    main(["test", *QUIET, "--figures", "false"])
