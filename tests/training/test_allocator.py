import platform
import resource
import subprocess
import sys

import pytest

ALLOCATE = """
import resource, torch
from multilabel_pl.training.allocator import keep_freed_memory

def page_faults():
    for step in range(40):
        if step == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(page_faults())
keep_freed_memory()
print(page_faults())
"""
PAGES = 20 * 4 * 10_000_000 / resource.getpagesize()  # of the tensors that the last 20 steps fill


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_freed_memory_is_used_again() -> None:
    ended = subprocess.run([sys.executable, "-c", ALLOCATE], capture_output=True, text=True, check=True)
    before, after = map(int, ended.stdout.split())
    assert after < PAGES / 100 < before
