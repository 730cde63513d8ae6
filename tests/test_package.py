import subprocess
import sys

import pytest

import multilabel_pl


def python(*words: str) -> str:
    return subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True).stdout


def test_version_is_answered_without_lightning() -> None:
    assert python("-m", "multilabel_pl", "--version") == f"multilabel_pl {multilabel_pl.__version__}\n"
    loaded = python("-c", "import multilabel_pl, sys; print(*sys.modules)").split()
    assert not {"torch", "lightning", "numpy"} & set(loaded)


def test_names_of_the_package_are_found_and_others_are_not() -> None:
    from multilabel_pl.model.classifier import MultiLabelClassifier

    assert multilabel_pl.MultiLabelClassifier is MultiLabelClassifier
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        multilabel_pl.Nonsense  # noqa: B018
