import shutil
from pathlib import Path

import pytest

from multilabel_pl.cli.main import main
from multilabel_pl.errors import MISTAKE
from multilabel_pl.model.comparison import in_order
from multilabel_pl.results.text import display_width
from tests.browser import opened
from tests.conftest import QUIET, MakeOnce, copied_run
from tests.results.compared import an_evaluation, write_run

LABELS = ["cat", "<script>alert(1)</script>", "👍 $x$", "a|b"]


@pytest.fixture(scope="session")
def tested(small_run: Path, stack_run: Path, small_set: str, make_once: MakeOnce) -> Path:
    """A folder of the runs of two networks, both tested on the small set; not to be written into."""

    def test_both() -> None:
        for version, run in enumerate((small_run, stack_run)):
            folder = copied_run(run, Path(str(version))).rename(f"version_{version}")
            shutil.copy(run / "config.yaml", folder)
            checkpoint = str(folder / "best.ckpt")
            main(["test", checkpoint, *QUIET, "--figures", "false", "--data.data_dir", small_set])

    return make_once("tested", test_both)


@pytest.fixture
def compared(workplace: Path) -> Path:
    """The folder of two runs with odd labels, in `runs`."""
    for version, skill in enumerate((3, 4)):
        write_run(an_evaluation(LABELS, version, skill), workplace / "runs" / f"version_{version}")
    return workplace / "runs"


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Returns the one line that a mistake ends in."""
    with pytest.raises(SystemExit) as caught:
        main(["compare", *words])
    assert caught.value.code == MISTAKE
    [line] = capsys.readouterr().err.splitlines()
    return line.removeprefix("error: ")


@pytest.mark.parametrize("words", ["", "0 1", "{}/version_0 {}/version_1/test", "{}/version_0/best.ckpt 1"])
def test_runs_are_named_in_many_ways(words: str, tested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", *words.replace("{}", str(tested)).split(), "--runs", str(tested)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("300 images of ")
    assert [line.split()[1] for line in lines if line.startswith("| version_")] == ["version_0", "version_1"]
    assert "## version_1 against version_0" in lines
    [network] = [line for line in lines if line.startswith("| model.network ")]
    assert [cell.strip() for cell in network.split("|")[2:4]] == ["conv_pool_dense", "conv_stack"]


def test_a_checkpoint_that_has_changed_since_is_noted(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare"])
    assert capsys.readouterr().err == ""
    (compared / "version_1" / "best.ckpt").write_bytes(b"trained again")
    main(["compare"])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("note: runs/version_1/test is of an earlier best.ckpt, of 20")
    assert line.endswith(": run test --ckpt_path runs/version_1/best.ckpt again")


def test_both_files_are_written(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "--output", '["c.md", "new/c.html"]'])
    out = capsys.readouterr().out
    assert out.endswith("written to c.md\nwritten to new/c.html\n")
    text = Path("c.md").read_text(encoding="utf-8")
    assert text.startswith("# Comparison of runs\n\n400 images of scenes.csv.")
    assert r"| \<script>alert(1)\</script> |" in text
    page = Path("new/c.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert page.count('class="sortable"') == 2


@pytest.mark.slow
def test_the_page_sorts_and_fits_a_phone(compared: Path) -> None:
    main(["compare", "--output", "c.html"])
    with opened(f"file://{Path('c.html').resolve()}", 390, "dark") as page:
        page.get_by_role("button", name="difference").last.click()
        shown = page.locator("table").last.locator("tbody tr td:nth-child(3)").all_inner_texts()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator(".forest .dot").count() > 0
        dates = page.locator("table").first.locator("tbody tr td:last-child")
        for index, date in enumerate(["2026-03-01 09:00", "2026-11-25 10:00"]):
            dates.nth(index).evaluate("(cell, date) => { cell.textContent = date; }", date)
        page.get_by_role("button", name="evaluated").click()
        assert dates.all_inner_texts() == ["2026-11-25 10:00", "2026-03-01 09:00"]
    assert [float(value) for value in shown] == sorted(map(float, shown), reverse=True)


def test_a_screen_shows_the_labels_that_differ_most(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [f"label {i}" for i in range(500)]
    for version in range(2):
        write_run(an_evaluation(labels, version, size=200), Path(f"runs/version_{version}"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    main(["compare", "--output", "c.md"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| label ") for line in lines) == 31
    assert max(display_width(line) for line in lines if line.startswith("|")) <= 80
    assert (
        "The 30 of 500 labels that differ most, those with an interval first; --output comparison.md has all." in lines
    )
    assert Path("c.md").read_text(encoding="utf-8").count("\n| label ") == 501


def test_labels_in_another_order_are_compared(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare"])
    before = capsys.readouterr().out
    write_run(in_order(an_evaluation(LABELS, 1, 4), sorted(LABELS)), compared / "version_1")
    main(["compare"])
    minutes = len("2026-11-27 11:45 |")
    after = capsys.readouterr().out
    assert [line[:-minutes] for line in after.splitlines()] == [line[:-minutes] for line in before.splitlines()]


def test_runs_of_one_name_are_named_with_their_folders(
    compared: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(compared / "version_1", workplace / "others" / "version_0")
    main(["compare", "0", "others/version_0"])
    out = capsys.readouterr().out
    assert "## others/version_0 against runs/version_0" in out
    assert "Options are not compared: there is no config.yaml of runs/version_0, others/version_0." in out


def test_what_can_not_be_compared_is_refused(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (compared / "version_2").mkdir()
    (compared / "version_2" / "last.ckpt").touch()
    (compared / "version_1" / "last.ckpt").touch()
    write_run(an_evaluation(LABELS, 1, size=300), compared / "version_3")
    write_run(an_evaluation([*LABELS[:3], "cow"], 1), compared / "version_4")
    other = an_evaluation(LABELS, 1)
    other.targets[5, 1] = 1 - other.targets[5, 1]
    write_run(other, compared / "version_5")
    assert refused(["0"], capsys) == "compare takes two runs or more, got only 0: name another one"
    assert refused(["0", "9"], capsys) == (
        "there is no run 9: give its number, its folder, or a checkpoint; runs has 0, 1, 2, 3, 4, 5"
    )
    assert refused(["0", "2"], capsys) == (
        "runs/version_2/test has no outputs.npz: run test --ckpt_path runs/version_2/last.ckpt first"
    )
    assert refused(["0", "1", "--split", "validate"], capsys).endswith(
        "run validate --ckpt_path runs/version_0/best.ckpt first"
    )
    assert refused(["0", "runs/version_1/last.ckpt"], capsys) == (
        "runs/version_1/test is of best.ckpt, not of runs/version_1/last.ckpt: "
        "run test --ckpt_path runs/version_1/last.ckpt first"
    )
    assert refused(["1", "1"], capsys) == "runs/version_1/test is given twice: name two runs that differ"
    assert "are of 400 and 300 images" in refused(["1", "3"], capsys)
    assert refused(["1", "4"], capsys).endswith(
        f": runs/version_1/test alone has {LABELS[3]}; runs/version_4/test alone has cow"
    )
    assert "differ in the true tags of 1 images" in refused(["1", "5"], capsys)
    (compared / "version_0" / "config.yaml").write_text("a: &a [1]\nb: *a\n")
    assert "config.yaml is damaged: remove it" in refused(["0", "1"], capsys)
    assert (
        refused(["1", "3", "--output", "c.txt"], capsys) == "--output takes files that end in .md or .html, got c.txt"
    )
    assert refused(["--runs", "elsewhere"], capsys).startswith("compare takes 2 runs with outputs.npz of test")


def test_a_damaged_file_ends_in_one_line_and_harms_no_earlier_output(
    compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.md").write_text("earlier")
    (compared / "version_1" / "test" / "outputs.npz").write_bytes(b"PK")
    line = refused(["0", "1", "--output", "c.md"], capsys)
    assert line == "runs/version_1/test/outputs.npz is damaged, or of another version: run test again"
    assert Path("c.md").read_text() == "earlier"
