"""What malloc does with freed memory: to return it to the system and take it back costs more than most work on a picture."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Mapping
from functools import lru_cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of glibc's mallopt(3)
KEPT_BYTES = 32 << 20
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
