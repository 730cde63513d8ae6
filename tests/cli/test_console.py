import pytest

from multilabel_pl.cli.console import one_line_errors
from multilabel_pl.errors import InputError, MultipleInputError


@pytest.mark.parametrize(
    ("mistake", "lines"),
    [
        (InputError("a network says\n  that it can't\n"), ["error: a network says that it can't"]),
        (MultipleInputError(["first", "second"]), ["error: first", "error: second"]),
        (
            InputError("Caught InputError in DataLoader worker process 0.\nTraceback:\nx.errors.InputError: gone\n"),
            ["error: gone"],
        ),
    ],
)
def test_a_mistake_is_reported_in_one_line(
    mistake: InputError, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise mistake
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines() == lines
