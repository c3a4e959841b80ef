"""Which samples no filter has dropped so far, defined once, for Arrow and for SQL.

A sample that a filter has not judged yet counts as kept: NULL is no reason to drop it. Only a picture must exist. A job that must
not run before the filters (export) checks their receipts instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from filters.stage1 import DOWNLOAD

# condition → the column of the manifest that it reads, and its SQL
CONDITIONS = {
    "downloaded": ("fetch_status", "coalesce(fetch_status = 'ok', false)"),
    "factors": ("stage1_reasons", f"len(list_filter(coalesce(stage1_reasons, []), lambda r: r != '{DOWNLOAD}')) = 0"),
    "stage1": ("stage1_keep", "coalesce(stage1_keep, true)"),
    "unseen": ("eval_match", "eval_match is null"),
    "original": ("duplicate_of", "duplicate_of is null"),
    "stage2": ("stage2_keep", "coalesce(stage2_keep, true)"),
}

# Dropped by no factor, and by its publisher's hash no evaluation picture; a failed download is no reason not to try.
TO_DOWNLOAD = ("factors", "unseen")
WITH_PICTURE = ("downloaded", "stage1")  # those that are compared and scored
DISTINCT = (
    *WITH_PICTURE,
    "unseen",
    "original",
)  # no copy of another, no evaluation picture: captioned, or exported after stage 1
FILTERED = (*DISTINCT, "stage2")  # exported after stage 2

# What InternVL's Table 2 counts, also before anything is downloaded.
AFTER_STAGE1 = ("stage1", "unseen")
JUDGED_BY_STAGE2 = (*AFTER_STAGE1, "original")
AFTER_STAGE2 = (*JUDGED_BY_STAGE2, "stage2")


def columns_of(conditions: Sequence[str]) -> list[str]:
    """The columns of the manifest that the conditions read."""
    return [CONDITIONS[condition][0] for condition in conditions]


def sql_of(conditions: Sequence[str]) -> str:
    """The conditions as one SQL condition over columns of the view `manifest`; never NULL."""
    return " and ".join(f"({CONDITIONS[condition][1]})" for condition in conditions)


def mask_of(table: pa.Table, conditions: Sequence[str]) -> pa.ChunkedArray | pa.Array:
    """Whether each row of table[N], with the columns of `columns_of`, meets all conditions: bool[N], no NULL."""
    return reduce(pc.and_, (_mask(table[CONDITIONS[condition][0]], condition) for condition in conditions))


def _mask(column: pa.ChunkedArray, condition: str) -> pa.ChunkedArray | pa.Array:
    match condition:
        case "downloaded":
            return pc.fill_null(pc.equal(column, "ok"), False)
        case "factors":
            return _no_reason_but_download(column)
        case "stage1" | "stage2":
            return pc.fill_null(column, True)
        case _:
            return pc.is_null(column)


def _no_reason_but_download(reasons: pa.ChunkedArray) -> pa.Array:
    import numpy as np

    column = reasons.combine_chunks()
    against = pc.list_parent_indices(column).filter(pc.not_equal(pc.list_flatten(column), DOWNLOAD))
    passed = np.ones(len(column), dtype=bool)
    passed[against.to_numpy()] = False
    return pa.array(passed)
