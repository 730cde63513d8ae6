import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from multilabel_pl.errors import InputError, MultipleInputError, check_at_least, check_choice, check_extra


def install(package: str, number: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a version of a package before all that are installed."""
    metadata = folder / f"{package}-{number}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {number}\n")
    monkeypatch.syspath_prepend(folder)


def test_a_value_that_is_no_choice_is_named_with_the_choices() -> None:
    check_choice("head", "softmax", ["sigmoid", "softmax"])
    with pytest.raises(InputError, match=r"^head must be one of sigmoid, softmax, got tanh$"):
        check_choice("head", "tanh", ["sigmoid", "softmax"])


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_a_number_that_is_too_small_or_not_finite_is_named(value: float) -> None:
    check_at_least(0, val_size=0)
    with pytest.raises(InputError, match=rf"^val_size must be at least 0, got {value}$"):
        check_at_least(0, test_size=1, val_size=value)


def test_several_mistakes_are_a_line_each() -> None:
    error = MultipleInputError(["line 2: no path", "line 3: no tag"])
    assert str(error).splitlines() == error.mistakes


def test_installed_packages_are_found() -> None:
    for extra in ("export", "demo", "serve", "timm"):
        check_extra(extra, "this")


def test_all_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, None)  # what Python takes for not installed
    with pytest.raises(
        InputError, match=r"^this needs more packages: pip install 'onnx<2,>=\S+' 'onnxscript<1,>=\S+'$"
    ):
        check_extra("export", "this")


@pytest.mark.parametrize("number", ["5.49.1", "7.0"])
def test_an_unsupported_version_is_refused(number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("gradio", number, tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"pip install 'gradio<7,>=\S+'$"):
        check_extra("demo", "the page")


def test_a_release_candidate_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("gradio", "6.99rc1", tmp_path, monkeypatch)
    check_extra("demo", "the page")


def test_a_module_of_another_package_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as onnxruntime, which onnxruntime-gpu installs without metadata of that name."""
    requirement = 'Name: multilabel_pl\nVersion: 1\nProvides-Extra: demo\nRequires-Dist: gradio>=6; extra == "demo"\n'
    install("multilabel_pl", "1", tmp_path, monkeypatch)
    (tmp_path / "multilabel_pl-1.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\n{requirement}")
    (tmp_path / "gradio.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "gradio", raising=False)
    with pytest.raises(PackageNotFoundError):
        version("gradio")
    check_extra("demo", "the page")
    (tmp_path / "gradio.py").unlink()
    with pytest.raises(InputError, match=r"^the page needs more packages: pip install 'gradio>=6'$"):
        check_extra("demo", "the page")
