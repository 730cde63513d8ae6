import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multilabel_pl import TableDataModule
from multilabel_pl.data.annotations.groups import groups_of
from multilabel_pl.data.split import stratified_split
from multilabel_pl.errors import InputError
from tests.data.tagged_images import write_images, write_table, write_tagged
from tests.data.test_split import share_errors, zipf_targets

SPLITS = ("train", "val", "test")


def files(table: str, **options: object) -> list[set[str]]:
    """Returns the names of the images for training, validation and test."""
    splits = TableDataModule(table, **options).splits  # type: ignore[arg-type]
    return [{Path(file).name for file in splits[split].files} for split in SPLITS]


def patients(folder: Path, sizes: Sequence[int]) -> tuple[str, dict[str, str]]:
    """Writes a table of images by patient, and returns it and whose each image is."""
    names = [f"patient {number}" for number, size in enumerate(sizes) for _ in range(size)]
    rows = [
        [path, "|".join(tags), name] for (path, tags), name in zip(write_images(folder, len(names)), names, strict=True)
    ]
    return write_table(folder / "t.csv", ["path", "tags", "patient"], rows), {Path(row[0]).name: row[2] for row in rows}


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=30),
    seed=st.integers(0, 1000),
    share=st.floats(0.1, 0.9),
)
def test_groups_are_never_divided(sizes: list[int], seed: int, share: float) -> None:
    groups = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    groups = groups[torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed))]
    size = min(max(1, round(share * len(groups))), len(groups) - 1)
    parts = stratified_split(zipf_targets(len(groups), labels=8, seed=seed), size, seed, groups)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(groups)))
    assert not set(groups[parts[0]].tolist()) & set(groups[parts[1]].tolist())


@pytest.mark.parametrize("largest", [2, 10, 40])
def test_groups_are_stratified_as_well_as_they_allow(largest: int) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = zipf_targets(10_000, labels=50)
    groups = torch.randint(10_000 // largest, (10_000,), generator=generator)
    _, aside = stratified_split(targets, 1000, 0, groups)
    assert len(aside) == pytest.approx(1000, abs=max(10, largest))
    number = 10_000 // largest
    drawn = torch.isin(groups, torch.randperm(number, generator=generator)[: number // 10])
    assert share_errors(targets, aside).mean() < share_errors(targets, drawn.nonzero().flatten()).mean() / 3


def test_a_patients_images_stay_together(tmp_path: Path) -> None:
    table, whose = patients(tmp_path, [5] * 12)
    parts = files(table, group_column="patient")
    assert [len(part) % 5 for part in parts] == [0, 0, 0]
    owners = [{whose[name] for name in part} for part in parts]
    assert sum(map(len, owners)) == 12
    assert files(table, group_column="patient", split_seed=1) != parts


def test_images_whose_group_is_missing_are_in_none(tmp_path: Path) -> None:
    missing = ["", "NaN", "nan", "NA", "None", "<NA>", " null "]
    paths = [path for path, _ in write_images(tmp_path, 21)]
    rows = [[path, "x", missing[i % len(missing)]] for i, path in enumerate(paths)]
    table = write_table(tmp_path / "t.csv", ["path", "tags", "patient"], rows)
    assert files(table, group_column="patient") == files(table)
    records = [json.dumps({"path": path, "tags": ["x"], "patient": float("nan")}) for path in paths]
    (tmp_path / "t.jsonl").write_text("\n".join(records))
    assert files(str(tmp_path / "t.jsonl"), group_column="patient") == files(table)


def test_groups_that_allow_no_split_are_named(tmp_path: Path) -> None:
    table, _ = patients(tmp_path, [20])
    with pytest.raises(
        InputError, match=r"test_size 0.1 can't be set aside: 20 images are of too few groups, or copies"
    ):
        files(table, group_column="patient")
    with pytest.raises(InputError, match="has no column ward, but path, tags, patient: name that of the groups with"):
        files(table, group_column="ward")


def test_images_of_a_marked_group_are_left_out_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [path for path, _ in write_images(tmp_path, 12)]
    marks = ["test", "train", "", "val", "", "", "test", "val", "", "", "", ""]
    rows = [[path, "x", f"{i % 6}", mark] for i, (path, mark) in enumerate(zip(paths, marks, strict=True))]
    table = write_table(tmp_path / "t.csv", ["path", "tags", "who", "split"], rows)
    train, val, test = files(table, group_column="who")  # 0: test twice; 1: train and val; 3: val and unmarked
    assert (val, test) == ({"003.png", "007.png"}, {"000.png", "006.png"})
    assert train == {f"{i:03}.png" for i in (2, 4, 5, 8, 10, 11)}
    assert "2 images are left out, as they belong with marked val images, such as 001.png with 007.png" in " ".join(
        capsys.readouterr().err.split()
    )


def test_copies_of_an_image_stay_together_and_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_tagged(tmp_path, 40)
    images = sorted((tmp_path / "images").iterdir())
    plain = [path for path in images if Image.open(path).getcolors(1)]
    assert len(plain) > 2  # which are no copies of each other
    others = [path for path in images if path not in plain]
    for original, copy in zip(others[:10], others[10:20], strict=True):
        shutil.copy(original, copy)
    for seed in range(5):
        parts = files(table, split_seed=seed, test_size=0.3)
        for original, copy in zip(others[:10], others[10:20], strict=True):
            assert [{original.name, copy.name} <= part for part in parts].count(True) == 1
    pairs = ", ".join(f"{copy.name} of {first.name}" for first, copy in zip(others[:3], others[10:13], strict=True))
    assert f"note: 10 images are copies of others, which they stay with: {pairs}, …\n" in capsys.readouterr().err
    assert sum(any(path.name in part for path in plain) for part in parts) > 1


def test_training_copies_of_test_images_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_tagged(tmp_path, 30)
    other = tmp_path / "new"
    new = write_tagged(other, 5, start=30)
    copied = next(path for path in sorted((tmp_path / "images").iterdir()) if path.stat().st_size > 200)
    shutil.copy(copied, other / "images" / "030.png")
    train, val, test = files(table, test_table=new)
    assert test == {f"{i:03}.png" for i in range(30, 35)}
    assert len(train | val) == 29
    assert copied.name not in train | val
    warning = f"1 images are left out, as they belong with marked test images, such as {copied.name} with 030.png"
    assert f"warning: {warning}" in capsys.readouterr().err


def test_every_image_is_tested_in_one_fold(tmp_path: Path) -> None:
    table, whose = patients(tmp_path, [1, 2, 3] * 10)
    parts = [files(table, group_column="patient", folds=4, fold=fold) for fold in range(4)]
    assert sorted(name for _, _, test in parts for name in test) == sorted(whose)
    assert all(12 <= len(test) <= 18 for _, _, test in parts)
    for train, val, test in parts:
        assert len(train | val | test) == 60
        owners = [{whose[name] for name in part} for part in (train, val, test)]
        assert sum(map(len, owners)) == 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "folds must be at least 2, got 1"),
        ({"folds": 3, "fold": 3}, "fold must be at least 0, and below folds, got 3 of 3"),
        ({"fold": 1}, "fold must be at least 0, and below folds, got 1 of 1"),
        ({"folds": 3, "split_column": "tags"}, "folds 3 sets test images aside, but some are marked"),
    ],
)
def test_folds_must_be_possible(options: dict[str, object], message: str, tmp_path: Path) -> None:
    rows = [[path, "test"] for path, _ in write_images(tmp_path, 6)]
    with pytest.raises(InputError, match=message):
        files(write_table(tmp_path / "t.csv", ["path", "tags"], rows), **options)


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("options", [{}, {"val_size": 500}, {"test_size": 100}, {"folds": 5}], ids=str)
def test_a_default_split_sets_none_aside(
    options: dict[str, object], split: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [[path, "x", "train" if i < 2 else ""] for i, (path, _) in enumerate(write_images(tmp_path, 8))]
    table = write_table(tmp_path / "t.csv", ["path", "tags", "split"], rows)
    parts = dict(zip(SPLITS, files(table, default_split=split, **options), strict=True))
    names = {Path(path).name for path, *_ in rows}
    assert parts.pop("train") == {"000.png", "001.png"}
    assert parts.pop(split) == names - {"000.png", "001.png"}
    assert list(parts.values()) == [set()]
    assert capsys.readouterr().err == ""


@given(st.data())
def test_groups_that_share_copies_are_one(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=12))
    index = st.integers(0, len(names) - 1)
    copies = data.draw(st.lists(st.lists(index, min_size=2, max_size=4), max_size=4))
    found = groups_of(names, copies)
    linked = {(i, j) for i, a in enumerate(names) for j, b in enumerate(names) if i == j or (a and a == b)}
    linked |= {(i, j) for some in copies for i in some for j in some}
    for middle in range(len(names)):  # Warshall's transitive closure
        linked |= {(i, j) for i in range(len(names)) for j in range(len(names)) if {(i, middle), (middle, j)} <= linked}
    numbers = list(range(len(names))) if found is None else found.tolist()
    assert {(i, j) for i, a in enumerate(numbers) for j, b in enumerate(numbers) if a == b} == linked
