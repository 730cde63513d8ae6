"""What a program imports is left out of garbage collection; a library's users keep theirs."""

import subprocess
import sys

import pytest

LASTING = "from multilabel_pl.imports import lasting_imports"


def printed(code: str) -> list[str]:
    """Runs code in a process of its own, as what is frozen stays so, and returns the words that it prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_nothing_is_collected_within_and_collection_goes_on_after() -> None:
    code = f"import gc; {LASTING}\nwith lasting_imports(): print(gc.isenabled())\nprint(gc.isenabled())"
    assert printed(code) == ["False", "True"]


def test_a_collection_that_was_off_stays_off() -> None:
    assert printed(f"import gc; {LASTING}; gc.disable()\nwith lasting_imports(): pass\nprint(gc.isenabled())") == [
        "False"
    ]


def test_it_is_enabled_again_after_an_import_that_fails() -> None:
    failing = "with lasting_imports(): import no_such_module"
    code = f"import gc; {LASTING}\ntry:\n {failing}\nexcept ImportError: print(gc.isenabled())"
    assert printed(code) == ["True"]


@pytest.mark.slow
@pytest.mark.parametrize(("start", "kept"), [("__main__", True), ("cli.main", False)])
def test_the_program_keeps_its_imports_and_a_call_from_python_does_not(start: str, kept: bool) -> None:
    code = (
        f"import gc, sys; sys.argv = ['multilabel-pl', 'test', 'no_such_checkpoint.ckpt']\n"
        f"from multilabel_pl.{start} import main\n"
        "try: main()\nexcept SystemExit as end: print(end.code, gc.get_freeze_count() > 0)"
    )
    assert printed(code) == ["2", str(kept)]
