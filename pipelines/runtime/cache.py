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
from pipelines.manifest.pictures import LOST
from pipelines.manifest.receipts import digest_of, read_receipts
from pipelines.manifest.selection import columns_of, mask_of
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import schema_of

REASONS = {"scores": "error", "captions": "finish_reason"}  # costly families → the column that says why there is no result


def cached_results(storage: Storage, part: Part, family: str, settings: Mapping[str, Any]) -> pa.Table:
    """The results of a part from earlier runs with the same settings, a row per sample."""
    receipt = read_receipts(storage, family, [part]).get(part)
    if receipt is not None and dict(receipt.settings) != dict(settings):
        return schema_of(family).empty_table()
    return _without_lost(read_family(storage, part, family), family)


def _without_lost(results: pa.Table, family: str) -> pa.Table:
    """Results without those of pictures that could not be read, and perhaps can by now; a score that there is stays."""
    if family not in REASONS or REASONS[family] not in results.column_names:
        return results
    is_lost = pc.is_in(results[REASONS[family]], pa.array(LOST))
    for name in results.column_names:
        if pa.types.is_floating(results[name].type):
            is_lost = pc.and_(is_lost, pc.is_null(results[name]))
    return results.filter(pc.invert(is_lost))


def missing_results(storage: Storage, part: Part, family: str, conditions: Sequence[str]) -> int:
    """How many samples of a part meet the conditions (of `pipelines.manifest.selection`) and have no result yet, or one of a
    picture that could not be read and perhaps can by now.
    """
    table = read_columns(storage, part, columns_of(conditions))
    read = ["finish_reason"] if family == "captions" else None  # of captions not their text
    cached = _without_lost(read_family(storage, part, family, read), family)["sample_id"].to_numpy()
    selected = table["sample_id"].filter(mask_of(table, conditions)).to_numpy()
    return int(np.isin(selected, cached, invert=True).sum())


def missing_embeddings(storage: Storage, part: Part) -> int:
    """How many scored samples of a part have no embedding, though their pictures could be looked at."""
    scored = read_family(storage, part, "scores", ["error"])
    embedded = read_family(storage, part, embeddings.FAMILY, [])["sample_id"].to_numpy()
    may_have = pc.or_(pc.is_null(scored["error"]), pc.is_in(scored["error"], pa.array(LOST)))
    samples = scored.filter(may_have)["sample_id"].to_numpy()
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
