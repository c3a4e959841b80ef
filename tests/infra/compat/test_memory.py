"""What malloc gives back to the system: nothing of a training process, whatever its loader asks for later."""

import subprocess
import sys

import pyarrow as pa
import pytest

from infra.compat.memory import holding_little_memory
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


def test_arrow_takes_memory_from_malloc_for_a_while_whatever_ends_it() -> None:
    before = pa.default_memory_pool().backend_name
    with pytest.raises(RuntimeError), holding_little_memory():
        assert pa.default_memory_pool().backend_name == "system"
        raise RuntimeError
    assert pa.default_memory_pool().backend_name == before


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_large_pieces_go_back_while_little_memory_is_held() -> None:
    held = "from infra.compat.memory import holding_little_memory; block = holding_little_memory(); block.__enter__()"
    within, behind = (_faults_again(f"{held}; {end}") for end in ("", "block.__exit__(None, None, None)"))
    assert within > 37_000 and behind < within - 5_000  # all 148 MiB, page by page; behind it some is kept
