"""The page, served by the command line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PLAIN = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as users have it


@contextmanager
def served(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serves a page, and yields the process and the page's address."""
    command = [sys.executable, "-m", "multilabel_pl", "demo", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=PLAIN, text=True) as process:
        assert process.stdout is not None
        try:
            address = next((line.split()[2] for line in process.stdout if line.startswith("draw at ")), None)
            if address is None:
                pytest.fail(f"the page is not served: {process.communicate()[1]}")
            yield process, address
        finally:
            process.kill()
