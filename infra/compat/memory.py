"""What malloc does with freed memory: to return it to the system and take it back costs more than most work on a picture."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of glibc's mallopt(3)
PR_SET_THP_DISABLE = 41  # of Linux's prctl(2): no pages of 2 MiB, of which an allocator may use a tenth
KEPT_BYTES, LARGE_BYTES = 32 << 20, 1 << 20
NEVER = (1 << 31) - 1  # as a threshold: the greatest that mallopt takes


@lru_cache(1)
def keep_freed_memory() -> None:
    """Makes malloc of this process keep freed memory, at most `KEPT_BYTES` for each thread."""
    _set({M_TRIM_THRESHOLD: KEPT_BYTES, M_MMAP_THRESHOLD: KEPT_BYTES})


def keep_all_memory() -> None:
    """Makes malloc of this process keep all that it has had, for one that needs as much again and again.

    A training step frees all activations. Taken back from the system they are cleared page by page: a tenth of a step on a CPU.
    """
    keep_freed_memory()  # once and for all: whoever calls it later changes nothing
    _set({M_TRIM_THRESHOLD: NEVER, M_MMAP_MAX: 0})


def _set(settings: Mapping[int, int]) -> None:
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        for name, value in settings.items():
            ctypes.CDLL(None).mallopt(name, value)


def return_freed_memory() -> None:
    """Gives to the system what malloc keeps of all threads; undoes `keep_freed_memory` for once."""
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def holding_little_memory() -> Iterator[None]:
    """Makes malloc of this process give large pieces back as they are freed, and Arrow take its memory from malloc, for a while.

    Arrow's own allocator keeps what is freed, beside what malloc keeps: a worker would hold both at their largest. Readers of
    files still take from it.
    """
    import pyarrow as pa

    pool = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    _set({M_MMAP_THRESHOLD: LARGE_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES})
    _use_huge_pages(False)
    try:
        yield
    finally:
        _use_huge_pages(True)
        _set({M_MMAP_THRESHOLD: KEPT_BYTES})
        pa.set_memory_pool(pool)


def _use_huge_pages(used: bool) -> None:
    with contextlib.suppress(AttributeError, OSError):  # not Linux
        ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, int(not used), 0, 0, 0)
