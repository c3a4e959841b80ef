"""Joining the families of one part by sample_id, in memory: no shuffle at any scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipelines.manifest.parts import Part
from pipelines.manifest.schema import schema_of
from pipelines.manifest.storage import Storage


def read_part(storage: Storage, part: Part, columns: Mapping[str, Sequence[str]]) -> pa.Table:
    """The named columns of families of one part, a row per sample, in the order of sample_id.

    `columns` maps a family to its columns, `samples` first. Columns of other families are prefixed (`fetch_status`), and NULL
    where that family has no row for the sample or was not made.
    """
    samples = storage.read_parquet(part.path("samples"), ["sample_id", *columns["samples"]])
    ids = samples["sample_id"].to_numpy()
    joined = {name: samples[name] for name in samples.column_names}
    for family, names in columns.items():
        if family != "samples":
            table = read_family(storage, part, family, names)
            rows = locate(table["sample_id"].to_numpy(), ids)
            joined |= {f"{family}_{name}": table[name].take(rows) for name in names}
    return pa.table(joined)


def read_family(storage: Storage, part: Part, family: str, columns: Sequence[str]) -> pa.Table:
    """sample_id and the named columns of one family of a part; no rows when it was not made."""
    path = part.path(family)
    names = ["sample_id", *columns]
    if storage.exists(path):
        return storage.read_parquet(path, names)
    schema = schema_of(family)
    return pa.schema([schema.field(name) for name in names]).empty_table()


def locate(have: np.ndarray, wanted: np.ndarray) -> pa.Array:
    """For each wanted id its index in the sorted ids `have`, NULL where it is absent: int64[len(wanted)]."""
    if len(have) == 0:
        return pa.nulls(len(wanted), pa.int64())
    index = np.searchsorted(have, wanted)
    index[index == len(have)] = 0
    return pa.array(index, mask=have[index] != wanted)
