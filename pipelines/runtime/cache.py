"""What costly steps share: results are kept per sample, committed in chunks, and never voided by accident."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from infra.compat.errors import RequestError
from pipelines.manifest.join import read_columns, read_family
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import digest_of, read_receipts
from pipelines.manifest.selection import columns_of, mask_of
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import schema_of


def had(storage: Storage, part: Part, family: str, settings: Mapping[str, Any]) -> pa.Table:
    """The results this part has from earlier runs with the same settings, a row per sample."""
    receipt = read_receipts(storage, family, [part]).get(part)
    if receipt is not None and dict(receipt.settings) != dict(settings):
        return schema_of(family).empty_table()
    return read_family(storage, part, family)


def missing_results(storage: Storage, part: Part, family: str, conditions: Sequence[str]) -> int:
    """How many samples of a part meet the conditions (of `pipelines.manifest.selection`) and have no result yet."""
    table = read_columns(storage, part, columns_of(conditions))
    cached = read_family(storage, part, family, [])["sample_id"].to_numpy()
    selected = table["sample_id"].filter(mask_of(table, conditions)).to_numpy()
    return int(np.isin(selected, cached, invert=True).sum())


def commit_once(storage: Storage, part: Part, family: str, request: Any, make: Callable[[str], pa.Table]) -> tuple[str, bool]:
    """Makes and commits one chunk, unless that was done before a kill; (where its table lies, whether it was made now).

    `request` is JSON that names the chunk: what is asked, of which samples, with which settings. `make` gets that name.
    """
    name = digest_of(json.dumps(request).encode())[:16]
    path = f"partial/{family}/{part.source}/{part.name}/{name}.parquet"
    if storage.exists(path):
        return path, False
    storage.write_parquet(path, make(name))
    return path, True


def refuse_to_void(storage: Storage, parts: Sequence[Part], family: str, settings: Mapping[str, Any], *, redo: bool) -> None:
    """Raises RequestError when results were paid for with other settings, unless they are to be paid for again."""
    receipts = read_receipts(storage, family, parts)
    other = [part for part, receipt in receipts.items() if dict(receipt.settings) != dict(settings)]
    if other and not redo:
        was = ", ".join(f"{name}={value}" for name, value in receipts[other[0]].settings.items())
        raise RequestError(
            f"{len(other)} parts ({other[0]} …) have results of {family} made with {was}; "
            "keep these settings, or give --redo to pay again"
        )
