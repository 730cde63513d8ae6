import os
import shlex
import subprocess
import sys
import tomllib
import warnings
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import multilabel_pl

ROOT = Path(__file__).parent.parent


def python(*words: str) -> str:
    return subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True).stdout


def test_the_version_is_printed_without_importing_lightning() -> None:
    assert python("-m", "multilabel_pl", "--version") == f"multilabel_pl {multilabel_pl.__version__}\n"
    loaded = python("-c", "import multilabel_pl, sys; print(*sys.modules)").split()
    assert not {"torch", "lightning", "numpy"} & set(loaded)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_lacks_is_escaped(encoding: str) -> None:
    words = [sys.executable, "-m", "multilabel_pl", "--help"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(words, env=environment, check=True, capture_output=True)
    assert "jsonargparse" not in done.stderr.decode()
    assert b"shtab-zsh, \\u2026;" in done.stdout


def test_output_may_be_closed() -> None:
    for closed in ("1>&-", "2>&-", "1>&- 2>&-"):
        command = f"{shlex.quote(sys.executable)} -m multilabel_pl --help {closed}"
        assert subprocess.run(["bash", "-c", command], check=True, capture_output=True).stderr == b""


def test_a_limit_of_memory_that_holds_nothing_is_named() -> None:
    command = f"ulimit -v 2000000; {shlex.quote(sys.executable)} -m multilabel_pl test"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
    expected = "error: 2.0 GB of memory (ulimit -v) don't hold PyTorch: allow 4 or more\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_the_public_names_are_imported_when_used() -> None:
    from multilabel_pl.model.classifier import MultiLabelClassifier

    assert multilabel_pl.MultiLabelClassifier is MultiLabelClassifier
    assert set(dir(multilabel_pl)) == set(multilabel_pl.__all__)
    for name in set(multilabel_pl.__all__) - {"__version__"}:
        assert getattr(multilabel_pl, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        multilabel_pl.Nonsense  # noqa: B018


def script(*words: str) -> str:
    path = str(Path(sys.executable).with_name("multilabel-pl"))
    return subprocess.run([path, *words], check=True, capture_output=True, text=True).stdout


def test_the_script_is_the_module() -> None:
    assert script("--version") == python("-m", "multilabel_pl", "--version")


@pytest.mark.slow
def test_the_script_has_the_help_of_the_module() -> None:
    shown = python("-m", "multilabel_pl", "--help").replace("python -m multilabel_pl", "multilabel-pl")
    assert script("--help").split() == shown.split()  # in lines of other lengths


@pytest.mark.slow
def test_the_script_completes_its_options() -> None:
    completions = script("--print_completion", "shtab-bash")
    assert "--model.head" in completions
    assert len(completions) < 2_500_000  # as a shell reads it; the loggers of this environment have many options


def lowest(requirement: Requirement) -> str:
    [version] = [bound.version for bound in requirement.specifier if bound.operator == ">="]
    return f"{requirement.name}=={version}"


def test_the_lowest_versions_are_those_of_pyproject() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = settings["project"]
    lists = [settings["build-system"]["requires"], project["dependencies"], *project["optional-dependencies"].values()]
    others = [one for one in map(Requirement, chain(*lists)) if one.name != project["name"]]
    assert (ROOT / ".ci" / "lowest.txt").read_text(encoding="utf-8").splitlines() == [
        *dict.fromkeys(map(lowest, others))
    ]


@pytest.mark.parametrize("category", [UserWarning, DeprecationWarning, FutureWarning, RuntimeWarning])
def test_any_warning_of_our_modules_is_an_error(category: type[Warning]) -> None:
    with pytest.raises(category, match="mind"):
        warnings.warn_explicit("mind", category, __file__, 1, module="multilabel_pl.model.metrics")
