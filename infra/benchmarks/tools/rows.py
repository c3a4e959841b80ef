"""Generated rows in the shape of LAION's joined tables, and families filled with drawn values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FILE_ROWS = 1_000_000
SOURCE = "laion2b-en"

GENERATE = """
copy (
  with words as (select ['a','red','fox','in','the','snow','photo','of','vintage','wooden','table','lamp','with','two','chairs',
                         'summer','dress','floral','print','size','black','leather','shoes','view','from','mountain','lake','old',
                         'town','street','market','fresh','fruit','bowl','kitchen','design','modern','house','garden','flowers',
                         'portrait','woman','man','child','dog','cat','car','bike','sunset','beach'] as w),
       rows as (select i, hash(i + 1) as h, hash(i + 2) as k, hash(i + 3) as m from range({first}, {last}) t(i))
  select 'https://cdn' || (h % 5000) || '.example.com/images/' || substr(md5(i::varchar), 1, (8 + k % 24)::int)
           || '/' || i || '.jpg' as URL,
         array_to_string(list_transform(range(0, (3 + h % 16)::bigint), lambda j: w[(hash(i * 31 + j) % 50 + 1)::int]), ' ')
           as TEXT,
         (64 + k % 1900)::int as WIDTH, (64 + m % 1900)::int as HEIGHT,
         0.2 + (h % 10000) / 40000.0 as similarity,
         i as hash,
         case when k % 50 = 0 then null else ((k % 1000) / 1000.0)::float end as pwatermark,
         case when m % 50 = 0 then null else ((m % 997) / 1994.0)::float end as punsafe,
         (3 + (h % 4000) / 1000.0)::float as aesthetic
  from rows, words
) to '{path}' (format parquet)
"""


def generate(path: Path, first: int, last: int) -> None:
    """Writes the rows `first` … `last` - 1 in the shape of LAION's joined tables."""
    duckdb.sql(GENERATE.format(first=first, last=last, path=path))


def fill(root: Path) -> None:
    """Writes drawn values for every sample in the families that ingest and stage1 do not make, as in a finished corpus."""
    from pipelines.manifest.parts import read_parts
    from pipelines.manifest.storage import Storage
    from pipelines.manifest.tables import conform

    storage, rng = Storage(str(root)), np.random.default_rng(0)
    for number, part in enumerate(read_parts(storage, SOURCE)):
        ids = storage.read_parquet(part.path("samples"), ["sample_id"])["sample_id"]
        count = len(ids)
        hashes, scores = rng.integers(0, 1 << 63, count, np.uint64), rng.random(count, np.float32)
        sides, places = rng.integers(200, 1200, count, np.int32), np.arange(count)
        families: dict[str, dict[str, Any]] = {
            "fetch": {"status": pa.repeat("ok", count), "phash": hashes, "width": sides, "height": sides, "offset": places},
            "scores": {"clip_similarity": scores, "unsafe": scores, "aesthetic": scores},
            "tags": {"watermark": scores},
            "stage2": {
                "keep": scores > 0.1,
                "reasons": pa.array([[]] * count, pa.list_(pa.string())),
                "language_confidence": scores,
            },
            "dedup": {"duplicate_of": pa.array(hashes, mask=scores > 0.1), "distance": pa.array(sides, mask=scores > 0.1)},
            "captions": {
                "synthetic_caption": pc.binary_join_element_wise("a picture of", pa.array(hashes).cast(pa.string()), " ")
            },
            "shards": {"shard": pa.repeat(f"shard-{number:06d}", count), "position": places.astype(np.int32)},
        }
        for family, columns in families.items():
            storage.write_parquet(part.path(family), conform(pa.table({"sample_id": ids, **columns}), family))
