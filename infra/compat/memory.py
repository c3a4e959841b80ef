"""What malloc does with freed memory: to return it to the system and take it back costs more than most work on a picture."""

from __future__ import annotations

import contextlib
import ctypes
from functools import lru_cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
KEPT_BYTES = 32 << 20


@lru_cache(1)
def keep_freed_memory() -> None:
    """Makes malloc of this process keep freed memory, at most `KEPT_BYTES` for each thread."""
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        for setting in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            ctypes.CDLL(None).mallopt(setting, KEPT_BYTES)


def return_freed_memory() -> None:
    """Gives to the system what malloc keeps of all threads; undoes `keep_freed_memory` for once."""
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
