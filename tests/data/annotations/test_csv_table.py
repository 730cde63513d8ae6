import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from multilabel_pl.data.annotations.formats import WANTED, read_annotations
from multilabel_pl.data.annotations.records import SPLITS, UNMARKED, AnnotationError, Annotations, find_repeated
from multilabel_pl.data.annotations.tabular import TableFormat
from multilabel_pl.errors import InputError
from multilabel_pl.model.prediction import name_tags


def png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (2, 2)).save(file, "PNG")
    return file.getvalue()


def tags_in(found: Annotations) -> list[list[str]]:
    return name_tags(found.marks > 0, found.labels)


def messages(content: str | bytes, labels: Sequence[str] | None = None, **columns: str) -> list[str]:
    """Returns what is wrong with a table `t.csv` in the current folder, a line each."""
    Path("t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        read = read_annotations(Path("t.csv"), Path("folder"), TableFormat(**columns), labels)  # type: ignore[arg-type]
    except InputError as error:
        return [str(error)]
    lines = str(AnnotationError(read.problems + find_repeated(read)))
    return lines.replace(str(Path("folder").absolute()), "FOLDER").splitlines()


NO_IMAGE = "t.csv names no image: it must have a line or an entry for each"
NO_PATHS = "name that of the paths with --data.path_column"
WHOLE: dict[str, tuple[str | bytes, str]] = {
    "lists as tags": (
        """path,tags
a.png,"[cat, dog]"
b.png,[cat]
""",
        "t.csv has lists as tags, such as [cat, dog]: write cat|dog",
    ),
    "another delimiter": (
        'path,tags\na.png,"cat, dog"\nb.png,cat\nc.png,dog\n',
        "t.csv seems to have several tags in one, such as cat, dog: give --data.tag_delimiter ',', or, if not, "
        "name the labels with --data.labels",
    ),
    "an unnamed column": (
        "path,,tags\na.png,,cat\n",
        "t.csv has a column without a name, number 2: name it, or delete it",
    ),
    "unnamed columns": (
        ",path,,cat\n0,a.png,,1\n",
        "t.csv has a column without a name, number 3: name it, or delete it",
    ),
    "two columns of the split": (
        "path,tags,split,is_valid\na.png,cat,,\n",
        "t.csv has columns split and is_valid: delete the one or the other",
    ),
    "an empty table": ("", "t.csv is empty: it must have a header, and a line for each image"),
    "a header alone": ("path,tags\n", NO_IMAGE),
    "no header": ("a.png,cat\nb.png,dog\n", f"t.csv has no column path, but a.png, cat: {NO_PATHS}"),
    "an unknown column": ("file,tags\na.png,cat\n", f"t.csv has no column path, but file, tags: {NO_PATHS}"),
    "not UTF-8": (b"path,tags\na.png,\xff\xfe\n", "t.csv is not a text in UTF-8: save it as CSV in UTF-8"),
    "UTF-16": ("path,tags\na.png,cat\n".encode("utf-16"), "t.csv is not a text in UTF-8: save it as CSV in UTF-8"),
    "an image": (png(), f"t.csv is a PNG image: {WANTED}"),
    "an open quote": ('path,tags\n"a.png,cat\n', "t.csv is not a table in CSV, line 2: unexpected end of data"),
    "several tags in one, whose parts are fewer": (
        "path,tags\na.png,cat;dog\nb.png,dog;owl\nc.png,owl;cat\nd.png,owl\n",
        "t.csv seems to have several tags in one, such as cat;dog: give --data.tag_delimiter ';', or, if not, "
        "name the labels with --data.labels",
    ),
    "a header of many columns": (
        f"file,{','.join(map(str, range(20)))}\n",
        f"t.csv has no column path, but file, 0, 1, 2, 3, 4, 5, 6, 7, 8 and 11 more: {NO_PATHS}",
    ),
    "a column twice": ("path,tags,tags\na.png,cat,dog\n", "t.csv has two columns tags"),
    "no column of tags": ("path\na.png\n", "t.csv has neither a column tags nor columns of 0 and 1"),
    "a label of which nothing is known": (
        "path,cat,dog\na.png,1,?\nb.png,0,\n",
        "t.csv has no image of which dog is known: leave it out with --data.labels",
    ),
    "-1 for absent": (
        "path,cat,dog\na.png,1,-1\nb.png,-1,1\n",
        "t.csv has columns of 1 and -1 without a 0: -1 is for unknown, write 0 for absent",
    ),
    "no tags": ("path,tags\na.png,\n", "t.csv has no tag: name labels with --data.labels"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_table_that_is_unusable_as_a_whole_is_refused(name: str, workplace: Path) -> None:
    content, message = WHOLE[name]
    assert messages(content) == [message]


LINES: dict[str, tuple[str, list[str]]] = {
    "a ragged line": (
        "path,tags\na.png\nb.png,cat\n",
        ["t.csv, line 2: must have 2 cells, as the header has, got 1"],
    ),
    "no path": ("path,tags\n,cat\n", ["t.csv, line 2: has no path"]),
    "paths outside": (
        "path,tags\n../a.png,cat\n/etc/hostname,cat\n",
        [
            "t.csv, line 2: ../a.png is outside of FOLDER: name the images' folder with --data.images, or give "
            "--data.allow_outside true",
            "t.csv, line 3: /etc/hostname is outside of FOLDER: name the images' folder with --data.images, or give "
            "--data.allow_outside true",
        ],
    ),
    "an image twice": (
        "path,tags\na.png,cat\n./sub/../a.png,dog\n",
        ["t.csv, line 3: FOLDER/a.png is listed already, in t.csv, line 2"],
    ),
    "neither 0 nor 1": (
        "path,cat,dog\na.png,1,2\nb.png,no,1\n",
        [
            f"t.csv, line {line}: column '{column}' must be 0, 1, or ? for unknown, got {got}: name a column of tags "
            "with --data.tags_column, or those of 0 and 1 with --data.labels"
            for line, column, got in ((2, "dog", "2"), (3, "cat", "no"))
        ],
    ),
    "an unknown split": (
        "path,tags,split\na.png,cat,trial\nb.png,cat,\n",
        ["t.csv, line 2: split must be one of train, val, test, got trial"],
    ),
    "a tag that is both": (
        "path,tags\na.png,cat|?cat\nb.png,?\nc.png,??cat\n",
        [
            "t.csv, line 2: cat is both a tag and unknown (?cat): delete the one or the other",
            "t.csv, line 3: ? must stand before a label, which is then unknown",
            "t.csv, line 4: ? must stand before a label, which is then unknown",
        ],
    ),
    "a dictionary for tags": (
        "path,tags\na.png,{'cat': 1}\n",
        ["t.csv, line 2: tags must be a list, or have | between them, got {'cat': 1}"],
    ),
    "a long value": (
        f"path,cat\na.png,{'x' * 1000}\n",
        [
            f"t.csv, line 2: column 'cat' must be 0, 1, or ? for unknown, got {'x' * 40}…{'x' * 19}: name a column of "
            "tags with --data.tags_column, or those of 0 and 1 with --data.labels"
        ],
    ),
    "many mistakes": (
        "path,tags\n" + "no.png\n" * 30,
        [*(f"t.csv, line {n}: must have 2 cells, as the header has, got 1" for n in range(2, 22)), "and 10 more"],
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_a_mistake_in_a_line_is_named_with_its_number(name: str, workplace: Path) -> None:
    content, expected = LINES[name]
    assert messages(content) == expected


def test_columns_and_labels_that_were_asked_for_must_be_there(workplace: Path) -> None:
    assert messages("path,tags\na.png,cat\n", tags_column="label") == [
        "t.csv has no column label, but path, tags: name that of the tags with --data.tags_column"
    ]
    assert messages("path,cat\na.png,1\n", ["cat", "dog"]) == ["t.csv has no column dog, but cat"]
    assert messages("path,tags\na.png,cat|cow\n", ["cat", "dog"]) == [
        "t.csv, line 2: cow is none of the labels: correct it, or name it in --data.labels when you train"
    ]


def test_a_table_that_is_not_there_is_named(workplace: Path) -> None:
    with pytest.raises(InputError, match=r"^there is no table no.csv: name it with --data\.table$"):
        read_annotations(Path("no.csv"), None, TableFormat())


def test_paths_may_lead_outside_where_that_is_allowed(workplace: Path) -> None:
    Path("t.csv").write_text("path,tags\n../a.png,cat\n/etc/hostname,cat\n")
    read = read_annotations(Path("t.csv"), Path("some/folder"), TableFormat(allow_outside=True))
    assert read.files == [str(workplace / "some/a.png"), "/etc/hostname"]
    assert read.problems == []


def test_tabs_a_byte_order_mark_blank_lines_and_quotes_are_understood(workplace: Path) -> None:
    text = (
        'path\ttags\tsplit\r\n"a, b.png"\tcat|out door\tTraining\r\n\r\n"a\nb.png"\t"cat"\tvalid\r\nc.png\t\tTEST\r\n'
    )
    Path("t.tsv").write_text(text, encoding="utf-8-sig", newline="")
    read = read_annotations(Path("t.tsv"), workplace, TableFormat())
    assert read.labels == ["cat", "out door"]
    assert read.places.tolist() == [2, 4, 6]
    assert [Path(file).name for file in read.files] == ["a, b.png", "a\nb.png", "c.png"]
    assert tags_in(read) == [["cat", "out door"], ["cat"], []]
    assert [SPLITS[code] for code in read.splits.tolist()] == ["train", "val", "test"]


def test_a_label_may_have_a_comma(workplace: Path) -> None:
    content = 'path,tags\na.png,"Paris, France"\nb.png,"Rome, Italy"\n'
    assert messages(content) == []
    assert messages('path,tags\na.png,"cat, dog"\nb.png,cat\nc.png,dog\n', ["cat, dog", "cat", "dog"]) == []


def test_columns_of_zero_and_one_are_tags(workplace: Path) -> None:
    Path("t.csv").write_text("cat,path,dog,owl\n1,a.png,0,1\n0,b.png,0,0\n")
    read = read_annotations(Path("t.csv"), workplace, TableFormat())
    assert (read.labels, tags_in(read)) == (["cat", "dog", "owl"], [["cat", "owl"], []])
    few = read_annotations(Path("t.csv"), workplace, TableFormat(), ["owl", "cat"])
    assert (few.labels, tags_in(few)) == (["owl", "cat"], [["owl", "cat"], []])


def test_labels_may_be_unknown(workplace: Path) -> None:
    Path("wide.csv").write_text("path,cat,dog,owl\na.png,1,,True\nb.png,NaN,0,0.0\nc.png,?,1.0,false\nd.png,0,-1,1\n")
    Path("tags.csv").write_text("path,tags\na.png,cat|?dog|owl\nb.png,? cat\nc.png,dog|?cat\nd.png,owl|?dog\n")
    wide, tags = (read_annotations(Path(name), workplace, TableFormat()) for name in ("wide.csv", "tags.csv"))
    assert wide.labels == tags.labels == ["cat", "dog", "owl"]
    expected = [[1.0, None, 1.0], [None, 0.0, 0.0], [None, 1.0, 0.0], [0.0, None, 1.0]]
    for read in (wide, tags):
        targets = read.targets.tolist()
        assert [[None if value != value else value for value in row] for row in targets] == expected


def test_what_excel_pandas_and_windows_write_is_understood(workplace: Path) -> None:
    text = "sep=;\r\nPath;Split;cat;dog\r\nsub\\a.png;Train;1;<NA>\r\nb.png;;None;0\r\n"
    Path("t.csv").write_text(text, newline="")
    assert read_annotations(Path("t.csv"), workplace, TableFormat()).files[0] == str(workplace / "sub\\a.png")
    Path("sub").mkdir()
    Path("sub/a.png").touch()
    read = read_annotations(Path("t.csv"), workplace, TableFormat())
    assert read.files == [str(workplace / "sub/a.png"), str(workplace / "b.png")]
    assert read.marks.tolist() == [[1, -1], [-1, 0]]
    assert read.splits.tolist() == [SPLITS.index("train"), UNMARKED]
    assert read.places.tolist() == [3, 4]
    Path("sub\\a.png").touch()
    assert read_annotations(Path("t.csv"), workplace, TableFormat()).files[0] == str(workplace / "sub\\a.png")


SEVERAL = "t.csv seems to have several tags in one, such as cat dog: if so, give --data.tag_delimiter ' '"
NOTES = {
    "columns without a meaning": (
        "path,tags,author,subset\na.png,cat,me,train\n",
        "t.csv: of its columns, these mean nothing: author, subset",
    ),
    "tags with blanks, whose parts are labels": ("path,tags\na.png,cat dog\nb.png,cat\nc.png,dog\n", SEVERAL),
    "tags with blanks, whose parts are fewer": (
        "path,tags\na.png,cat dog\nb.png,cat owl\nc.png,cat\nd.png,dog owl\ne.png,cat dog owl\n",
        SEVERAL,
    ),
    "tags with commas, whose parts are labels": (
        'path,tags\na.png,"cat, dog"\nb.png,cat\nc.png,dog\n"d.png","owl, dodo"\n',
        "t.csv seems to have several tags in one, such as cat, dog: if so, give --data.tag_delimiter ','",
    ),
    "a missing value": (
        "path,tags\na.png,cat\nb.png,NaN\n",
        "t.csv has a label NaN: if that marks a missing value, leave those cells empty",
    ),
    "labels that look the same": (
        "path,tags\na.png,\u00e9\nb.png,e\u0301\n",
        "t.csv has labels e\u0301 and \u00e9, which differ in case or encoding alone: correct it if they are one",
    ),
    "labels of another case": (
        "path,tags\na.png,cat\nb.png,Cat\n",
        "t.csv has labels Cat and cat, which differ in case or encoding alone: correct it if they are one",
    ),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_may_be_meant_otherwise_is_noted(name: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, expected = NOTES[name]
    assert messages(content) == []
    assert capsys.readouterr().err == f"note: {expected}\n"


def test_labels_of_several_words_are_ordinary(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert messages("path,tags\na.png,red car\nb.png,blue car\nc.png,red bus\nd.png,blue bus\n") == []
    assert capsys.readouterr().err == ""
