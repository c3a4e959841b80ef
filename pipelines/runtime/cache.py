"""What costly steps share: results are cached per sample, committed in chunks, and replaced only with --redo."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.compat.errors import RequestError
from pipelines.manifest import embeddings
from pipelines.manifest.join import read_columns, read_family
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import digest_of, read_receipts
from pipelines.manifest.selection import columns_of, mask_of
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import schema_of


def cached_results(storage: Storage, part: Part, family: str, settings: Mapping[str, Any]) -> pa.Table:
    """The results of a part from earlier runs with the same settings, a row per sample."""
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


def missing_embeddings(storage: Storage, part: Part) -> int:
    """How many scored samples of a part have no embedding, though their pictures could be looked at."""
    scored = read_family(storage, part, "scores", ["error"])
    embedded = read_family(storage, part, embeddings.FAMILY, [])["sample_id"].to_numpy()
    samples = scored.filter(pc.is_null(scored["error"]))["sample_id"].to_numpy()
    return int(np.isin(samples, embedded, invert=True).sum())


def commit_once(storage: Storage, part: Part, family: str, request: Any, compute: Callable[[str], pa.Table]) -> tuple[str, bool]:
    """Computes and commits one chunk, unless a run that was killed did; (path of its table, whether it was computed now).

    `request` is JSON that identifies the chunk: what is computed, for which samples, with which settings. `compute` gets the name
    derived from it.
    """
    name = digest_of(json.dumps(request).encode())[:16]
    path = f"partial/{family}/{part.source}/{part.name}/{name}.parquet"
    if storage.exists(path):
        return path, False
    storage.write_parquet(path, compute(name))
    return path, True


def require_same_settings(
    storage: Storage, parts: Sequence[Part], family: str, settings: Mapping[str, Any], *, redo: bool
) -> None:
    """Raises RequestError when cached results come from other settings, unless --redo replaces them."""
    receipts = read_receipts(storage, family, parts)
    other = [part for part, receipt in receipts.items() if dict(receipt.settings) != dict(settings)]
    if other and not redo:
        earlier = ", ".join(f"{name}={value}" for name, value in receipts[other[0]].settings.items())
        raise RequestError(
            f"{len(other)} parts ({other[0]} …) have results of {family} made with {earlier}; "
            "keep these settings, or give --redo to replace them"
        )
