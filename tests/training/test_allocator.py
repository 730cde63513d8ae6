import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ALLOCATE = """
import resource, torch
from pathlib import Path
from multilabel_pl.training.allocator import keep_freed_memory, return_freed_memory

def page_faults():
    for step in range(40):
        if step == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def megabytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024

print(page_faults())
keep_freed_memory()
print(page_faults())
return_freed_memory()
before = megabytes()
for _ in range(3):
    blocks = [torch.ones(4_000_000) for _ in range(20)]  # of 16 MB
    small = torch.ones(1000)  # behind them
    del blocks
print(megabytes() - before)
"""
PAGES = 20 * 4 * 10_000_000 / resource.getpagesize()  # of the tensors that the last 20 steps fill


@pytest.mark.slow
@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not Path("/proc/self/status").exists(),
    reason="other C libraries are left as they are, and memory is read from /proc",
)
def test_freed_memory_is_used_again_until_it_is_returned() -> None:
    ended = subprocess.run([sys.executable, "-c", ALLOCATE], capture_output=True, text=True, check=True)
    before, after, kept = map(int, ended.stdout.split())
    assert after < PAGES / 100 < before
    assert kept < 16
