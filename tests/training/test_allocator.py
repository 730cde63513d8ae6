import platform
import resource
import subprocess
import sys

import pytest

ALLOCATE = """
import resource, sys, torch
if "keep" in sys.argv:
    from multilabel_pl.training.allocator import keep_freed_memory
    keep_freed_memory()
for step in range(40):
    if step == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 20 * 4 * 10_000_000 / resource.getpagesize()  # of the tensors that the last 20 steps fill


def page_faults(*words: str) -> int:
    run = subprocess.run([sys.executable, "-c", ALLOCATE, *words], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_freed_memory_is_used_again() -> None:
    assert page_faults("keep") < PAGES / 100 < page_faults()
