"""What malloc gives back to the system: nothing of a training process, whatever its loader asks for later."""

import subprocess
import sys

import pytest

from tests import ROOT

COUNT = """
import resource
import numpy as np
from infra.compat.memory import keep_all_memory, keep_freed_memory

{before}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    large, small = np.ones(6 << 20), [np.ones(1 << 17) for _ in range(100)]  # 48 MiB as one, 100 MiB in pieces
    del large, small
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(min(faults() for _ in range(3)))
"""


def _faults_again(before: str) -> int:
    command = [sys.executable, "-c", COUNT.format(before=before)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_memory_that_a_training_had_costs_no_page_fault_again() -> None:
    assert _faults_again("keep_freed_memory()") > 1000  # what a loader alone asks for does not keep it
    assert _faults_again("keep_all_memory(); keep_freed_memory()") < 100
