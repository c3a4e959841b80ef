"""Samples of an export beside the manifest: is each the caption and the picture of its row?

What was read of every sample lies for a while below the root, as Parquet; one query joins it with the manifest, which needs no
memory for it.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from infra.compat.errors import RequestError
from infra.compat.paths import absolute
from pipelines.images.identify import FORMATS
from pipelines.manifest.pictures import checksum_of
from pipelines.manifest.storage import Storage
from pipelines.manifest.view import connect
from sharding.checks import Fault
from sharding.index import Dataset, Index
from sharding.sample import Sample, image_ending

MIME_OF_ENDING = {ending: f"image/{name.lower()}" for name, ending in FORMATS.items()}
SCHEMA = pa.schema(
    [
        ("sample_id", pa.uint64()),
        ("shard", pa.string()),
        ("row", pa.int32()),
        ("key", pa.string()),
        ("text", pa.string()),
        ("mime", pa.string()),
        ("checksum", pa.uint64()),
    ]
)
# An export takes the caption as published, repaired, or a synthetic one, and may encode pictures of another type anew. Where it
# has several copies of a sample, the manifest says the place of one.
QUERY = """
with pairs as (
    select c.*, m.sample_id is not null as known, s.shard as own_shard, s.position as own_row,
        min((c.shard, c.row)) over same < max((c.shard, c.row)) over same as has_copies,
        list_contains([m.caption, m.caption_repaired, m.synthetic_caption], c.text) as has_caption,
        coalesce(m.mime, c.mime) <> c.mime as encoded_anew, m.stored_checksum as stored
    from read_parquet($files) c left join manifest m using (sample_id) left join {shards} s using (sample_id)
    window same as (partition by c.sample_id)
)
select coalesce(shard, ''), key, case
    when not known then 'is no sample of the manifest'
    when not has_copies and (own_shard is distinct from shard or own_row is distinct from row)
        then 'lies elsewhere by the manifest: ' || coalesce(own_shard || ', row ' || own_row, 'in no shard')
    when not coalesce(has_caption, false) then 'its text is no caption of its row in the manifest'
    when not encoded_anew and stored <> checksum then 'its picture is not the one that was fetched for its row'
    when encoded_anew then ''
    end as what
from pairs where what is not null
union all
select shard, format('{{:016x}}', sample_id), 'is in the shard by the manifest, not in its tar'
from {shards} s where shard in (select shard from pairs) and not exists (from pairs where pairs.sample_id = s.sample_id)
"""


@dataclass(frozen=True)
class Pairs:
    """Where an export's samples are kept until they are compared: `folder` below the root; `family` says where each lies."""

    storage: Storage
    family: str
    folder: str

    def rows(self, shard: str) -> ShardRows:
        """The samples of a shard, to be filled."""
        return ShardRows(self, shard)


@dataclass
class ShardRows:
    """What is compared of the samples of a shard."""

    pairs: Pairs
    shard: str
    samples: list[dict[str, object]] = field(default_factory=list)

    def add(self, index: Index, row: int, members: Mapping[str, bytes]) -> str:
        """A check of a shard (`sharding.checks`) that only keeps what is compared later."""
        sample = Sample.of_members(int(index.sample_ids[row]), members)
        mime = MIME_OF_ENDING.get(image_ending(sample.image) or "", "")
        same = {"shard": self.shard, "row": row, "key": index.key(row), "checksum": checksum_of(sample.image), "mime": mime}
        self.samples += [{"sample_id": pair.sample_id, "text": pair.text, **same} for pair in sample.pairs()]
        return ""

    def write(self) -> None:
        """Puts the samples where they are compared."""
        table = pa.Table.from_pylist(self.samples, schema=SCHEMA)
        self.pairs.storage.write_parquet(f"{self.pairs.folder}/{self.shard}.parquet", table)


def pairs_of(dataset: Dataset, root: str) -> Pairs:
    """The export of the manifest that a dataset is; RequestError where the manifest has none there."""
    storage = Storage(root)
    for note in storage.glob("exports/*.json"):
        document = storage.read_json(note)
        if "token" in document and absolute(document["uri"]) == dataset.uri:
            name = note.removeprefix("exports/").removesuffix(".json")
            storage.remove_folder(f"verify/{name}")
            return Pairs(storage, f"shards_{name}", f"verify/{name}")
    raise RequestError(f"the manifest in {storage.root} has no export to {dataset.uri}; check --root and URI")


def pairing_faults(pairs: Pairs) -> tuple[list[Fault], int]:
    """The samples that are not what the manifest says, and how many pictures were encoded anew and so not compared."""
    storage = pairs.storage
    scheme = "" if storage.is_local else storage.root.split("://")[0] + "://"
    files = f"{scheme}{glob.escape(storage.base)}/{pairs.folder}/*.parquet"
    query = QUERY.format(shards=pairs.family)
    if not storage.glob(f"{pairs.folder}/**"):  # of no shard
        return [], 0
    rows = [Fault(*row) for row in connect(storage.root).execute(query, {"files": files}).fetchall()]
    storage.remove_folder(pairs.folder)
    return [row for row in rows if row.what], sum(not row.what for row in rows)
