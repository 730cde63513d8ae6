import pytest

from multilabel_pl.messages import escaped, note, say, warn

NAME = "cat\x1b[31m\x07 \u202edog\x9b"
SHOWN = r"cat\x1b[31m\x07 \u202edog\x9b"


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{NAME}\nnext")
    note(NAME)
    warn(NAME)
    assert capsys.readouterr() == (f"{SHOWN}\nnext\n", f"note: {SHOWN}\nwarning: {SHOWN}\n")


def test_a_name_of_two_lines_takes_one(capsys: pytest.CaptureFixture[str]) -> None:
    name = "cat\r\n dog\u2028cow"
    note(name)
    warn(name)
    assert capsys.readouterr().err == "note: cat dog cow\nwarning: cat dog cow\n"


def test_letters_of_any_script_stay() -> None:
    name = "naïve ≥5 猫 قطة 👩‍🔬 $5_$10"
    assert escaped(name) == name
