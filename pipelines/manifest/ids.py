"""Sample ids: unique, stable, sortable, and they say where a row came from."""

from __future__ import annotations

import numpy as np

SOURCE_BITS, FILE_BITS, ROW_BITS = 8, 24, 32


def sample_ids(source: int, file: int, first_row: int, rows: int) -> np.ndarray:
    """The ids of `rows` consecutive rows: uint64[rows] = source (8 bits) · file (24 bits) · row (32 bits)."""
    if not (0 <= source < 1 << SOURCE_BITS and 0 <= file < 1 << FILE_BITS and first_row + rows <= 1 << ROW_BITS):
        raise ValueError(f"source {source}, file {file}, row {first_row + rows} do not fit in a sample_id")
    base = source << (FILE_BITS + ROW_BITS) | file << ROW_BITS | first_row
    return np.arange(base, base + rows, dtype=np.uint64)
