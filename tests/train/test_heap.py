"""A process that keeps its memory asks the kernel for it once."""

from __future__ import annotations

import subprocess
import sys

import pytest

CHURN = """
import resource, torch
from swarmd.train.heap import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def churn(times):
    for _ in range(times):
        torch.zeros(10 << 20)

kept = {kept} and keep_freed_memory()
churn(20)
before = faults()
churn(50)
print(kept, faults() - before)
"""


def faults(kept: bool) -> tuple[str, int]:
    code = CHURN.format(kept=kept)
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    first, second = answer.split()
    return first, int(second)


@pytest.mark.slow
def test_what_is_freed_is_used_again():
    here, kept = faults(True)
    if here == "False":
        pytest.skip("not glibc's allocator")
    _, given_back = faults(False)
    assert kept < 1_000 < 10_000 < given_back
