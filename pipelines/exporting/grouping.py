"""The captions of a picture, which lie together in the order of an export, brought into one sample."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

PICTURE = ("order", "length", "stored_checksum", "repeat")  # equal of rows with the same stored picture, in the same split
CAPTION = ("sample_id", "caption", "source", "language", "synthetic", "repaired")  # what a sample knows of each of its captions
SORTED_BY = (*PICTURE, "sample_id", "synthetic")


def grouped(rows: pa.Table, most: int) -> pa.Table:
    """Rows sorted by SORTED_BY → one for each `most` captions of a picture: the first of them, with all as `captions`."""
    same = np.ones(max(0, len(rows) - 1), bool)  # as the row before
    for column in PICTURE:
        values = rows[column].fill_null(0).to_numpy()
        same &= values[1:] == values[:-1]
    begins = np.append(True, ~same)[: len(rows)]
    firsts = np.flatnonzero(begins)
    rank = np.arange(len(rows)) - np.repeat(firsts, np.diff(np.append(firsts, len(rows))))
    starts = np.flatnonzero(rank % most == 0)
    captions = pa.StructArray.from_arrays([rows[name].combine_chunks() for name in CAPTION], CAPTION)
    offsets = pa.array(np.append(starts, len(rows)).astype(np.int32))
    return rows.take(starts).append_column("captions", pa.ListArray.from_arrays(offsets, captions))
