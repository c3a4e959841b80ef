"""A manifest of drawn samples, one in twenty of which repeats another, as fetch and stage1 leave one, written directly."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from infra.benchmarks.tools.rows import FILE_ROWS
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part, SourceFile, parts_of, read_parts, register_files
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform

SOURCE, ORDINAL = "coyo", 4

DRAW = """
with rows as (select i, hash(i + 1) as h from range({first}, {last}) t(i)),
     shown as (select i, h, case when h % 20 = 0 then (h // 20 % {total})::bigint else i end as g from rows)
select 'https://cdn' || (hash(g) % 5000) || '.example.com/images/' || md5(g::varchar) || '.jpg' as url,
       'a picture of ' || (hash(g + 7) % {total}) || ' in the ' || (hash(g + 9) % 97) as caption,
       md5(g::varchar) || md5((g + 1)::varchar) as sha256,
       xor(hash(g + 3) >> 1, case when h % 20 = 0 then (1::ubigint << (h % 61)::int) else 0::ubigint end) as phash
from shown order by i
"""


def fill_copied(root: Path, rows: int) -> None:
    """Writes `samples`, `fetch` and `stage1` of `rows` samples, in parts of a million at most."""
    storage = Storage(str(root))
    for part in _register(storage, rows):
        first = part.file * FILE_ROWS
        drawn = duckdb.sql(DRAW.format(first=first, last=first + part.rows, total=rows)).to_arrow_table()
        same = {"source": pa.repeat(SOURCE, part.rows), "url": drawn["url"], "caption": drawn["caption"]}
        fetched = {"status": pa.repeat("ok", part.rows), "sha256": drawn["sha256"], "phash": drawn["phash"]}
        quality = {"pdq_quality": pa.array(np.full(part.rows, 100, np.int32))}
        kept = {"keep": pa.repeat(True, part.rows), "reasons": pa.array([[]] * part.rows, pa.list_(pa.string()))}
        for family, columns in {"samples": same, "fetch": {**fetched, **quality}, "stage1": kept}.items():
            _write(storage, part, family, columns)


def fill_hashes(root: Path, rows: int) -> None:
    """Writes `copy_keys` of `rows` samples with a hash of 63 bits each; one in twenty is within two bits of another's."""
    storage = Storage(str(root))
    for part in _register(storage, rows):
        rng = np.random.default_rng(part.file)
        hashes = rng.integers(0, 1 << 63, part.rows, np.uint64)
        copies = rng.random(part.rows) < 0.05
        flips = np.uint64(1) << rng.integers(0, 63, (2, part.rows), np.uint64)
        earlier = np.random.default_rng(int(rng.integers(0, part.file + 1))).integers(0, 1 << 63, part.rows, np.uint64)
        hashes[copies] = (np.roll(earlier, 1) ^ flips[0] ^ flips[1])[copies]
        _write(storage, part, "copy_keys", {"phash": hashes})


def parts_under(root: str) -> tuple[Storage, list[Part]]:
    """The manifest under a root, and its parts."""
    storage = Storage(root)
    return storage, read_parts(storage, SOURCE)


def _register(storage: Storage, rows: int) -> list[Part]:
    sizes = [min(FILE_ROWS, rows - first) for first in range(0, rows, FILE_ROWS)]
    files = [SourceFile(f"{number}.parquet", number, size, 1, "x") for number, size in enumerate(sizes)]
    return parts_of(SOURCE, register_files(storage, SOURCE, files))


def _write(storage: Storage, part: Part, family: str, columns: dict[str, object]) -> None:
    table = pa.table({"sample_id": sample_ids(ORDINAL, part.file, part.first_row, part.rows), **columns})
    storage.write_parquet(part.path(family), conform(table, family))
    write_receipt(storage, part, Receipt(family, SOURCE, part.name, "f", "d", part.rows, part.rows))
