import sys
from pathlib import Path

import pytest

from multilabel_pl.errors import InputError
from multilabel_pl.extras import check_extra


def install(package: str, version: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a version of a package before all that are installed."""
    metadata = folder / f"{package}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(folder)


def test_what_is_installed_serves() -> None:
    for extra in ("export", "demo", "timm"):
        check_extra(extra, "this")


def test_all_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, None)  # what Python takes for not installed
    with pytest.raises(
        InputError, match=r"^this needs more packages: pip install 'onnx<2,>=\S+' 'onnxscript<1,>=\S+'$"
    ):
        check_extra("export", "this")


@pytest.mark.parametrize("version", ["5.49.1", "7.0"])
def test_another_version_does_not_serve(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("gradio", version, tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"pip install 'gradio<7,>=\S+'$"):
        check_extra("demo", "the page")


def test_a_release_to_come_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("gradio", "6.99rc1", tmp_path, monkeypatch)
    check_extra("demo", "the page")
