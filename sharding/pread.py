"""Reads many ranges of open files: by `_pread.c` where that was compiled, otherwise one by one, slower beside other threads."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

try:
    import _pairmill_pread as compiled
except ImportError:  # pip found no compiler
    compiled = None

MOST = 0x7FFFF000  # bytes that Linux reads at once


def read_ranges_python(ranges: np.ndarray) -> list[bytes | int]:
    """`read_ranges` without C."""
    if ranges.size and ranges[:, 1:].min() < 0:
        raise ValueError("a range begins before the file or has less than no bytes")
    return [_read(*each) for each in ranges.tolist()]


def _read(file: int, start: int, length: int) -> bytes | int:
    parts, rest = list[bytes](), length
    try:
        while rest and (part := os.pread(file, min(rest, MOST), start + length - rest)):
            parts.append(part)
            rest -= len(part)
    except OSError as error:
        return error.errno or 0
    return b"".join(parts)


# int64[N, 3], each row (file descriptor, start, length) → the bytes of each range, fewer where the file ends before, or an errno;
# ValueError for a start or a length below 0.
read_ranges: Callable[[np.ndarray], list[bytes | int]] = compiled.read_ranges if compiled else read_ranges_python
