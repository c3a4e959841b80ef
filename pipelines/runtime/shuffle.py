"""Hash shuffle: keys that parts wrote are searched bucket by bucket, and the results are scattered back to their parts.

Only hashes are shuffled, never rows. A bucket is an even range of the 64-bit keys; its result is a file below `partial/`, named
by a fingerprint of all that it depends on, sorted by sample_id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.manifest.receipts import digest_of, fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items


def search_buckets(
    storage: Storage,
    name: str,
    count: int,
    depends_on: Mapping[str, Any],
    search: Callable[[int, int], pa.Table],
) -> tuple[dict[str, str], dict[str, str]]:
    """Searches the buckets that have no result yet; (path of each result → digest, bucket → cause of failure).

    `search` maps the lowest and highest key of a bucket to a table with a `sample_id`, sorted by it. Results of other keys or
    settings under the same name are removed.
    """
    items = []
    for bucket in range(count):
        fingerprint = fingerprint_of({"depends_on": depends_on, "bucket": bucket, "of": count})
        items.append({"label": f"bucket {bucket}", "bucket": bucket, "target": f"partial/{name}/{fingerprint}.parquet"})
    todo = [item for item in items if not storage.exists(str(item["target"]))]

    def work(item: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
        low, high = (place * (1 << 64) // count for place in (item["bucket"], item["bucket"] + 1))
        rows = search(low, high - 1)
        storage.write_parquet(item["target"], rows)
        reporter(1)
        return {"rows": len(rows)}

    results = run_items(todo, work, name=name, unit="buckets", total=len(todo))
    failed = {label: error for label, _, error in results if error}
    if failed:
        return {}, failed
    targets = [str(item["target"]) for item in items]
    storage.remove(set(storage.glob(f"partial/{name}/*.parquet")) - set(targets))
    return {target: digest_of(storage.read(target)) for target in targets}, {}


def keys_between(storage: Storage, path: str, low: int, high: int) -> pa.Table:
    """The rows of a file sorted by `key` (uint64) whose key is in low … high."""
    return _between(storage, path, "key", low, high)


def rows_of_part(storage: Storage, paths: Sequence[str], ids: np.ndarray) -> pa.Table:
    """The rows of bucket results that belong to a part, given its sample ids in order: sorted by sample_id."""
    low, high = int(ids.min(initial=2**64 - 1)), int(ids.max(initial=0))
    return pa.concat_tables([_between(storage, path, "sample_id", low, high) for path in paths]).sort_by("sample_id")


def _between(storage: Storage, path: str, column: str, low: int, high: int) -> pa.Table:
    bounds = (pc.field(column) >= pa.scalar(low, pa.uint64())) & (pc.field(column) <= pa.scalar(high, pa.uint64()))
    with storage.open(path) as handle:
        return pq.read_table(handle, filters=bounds)
