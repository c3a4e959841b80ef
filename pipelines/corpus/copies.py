"""Copies within the corpus: which samples repeat another, in which way, at what distance.

    bytes   the same file                                      pair  the same words, and pictures within `dedup.distance`
    pixels  pictures within `dedup.pixel_distance`             url   the same address
    semantic  pictures whose embeddings are near, where asked for

Each kind is found by itself: keys are sorted so that equal ones lie together (`external_sort`), and of a set of copies the sample
of the lowest rank stays. What was found is sorted by rank into files of a few consecutive parts each, from which a part takes its
own. All that lies in between is bounded by what a task has in memory, and removed at the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from filters.duplicates.index import copies_within, first_of_groups
from infra.compat.content import content_digest
from pipelines.corpus.near_copies import STAGES, near_copies
from pipelines.corpus.ranks import Ranks, ranks_by
from pipelines.corpus.semantic_copies import embedded_sources, semantic_copies
from pipelines.corpus.settings import DedupSettings
from pipelines.corpus.sorting import FOLDER, Sorting, as_sources, rows_of
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import fingerprint_of, read_receipts
from pipelines.manifest.storage import Storage
from pipelines.runtime.external_sort import SortedFile, Source, read_sorted

KEYS = {"bytes": "bytes", "pair": "caption", "url": "url"}  # kind → the column of `copy_keys` that is equal


@dataclass(frozen=True)
class Copies:
    """The copies of the corpus: files sorted by rank, each from its low on, with rank, kind, copy_of (a rank) and distance."""

    lows: Sequence[int]
    files: Sequence[SortedFile]
    ranks: Ranks

    def file_of(self, part: Part) -> SortedFile:
        """The file that has all copies of a part."""
        return self.files[bisect_right(self.lows, self.ranks.first_of(part)) - 1]

    def of_part(self, storage: Storage, part: Part, ids: np.ndarray) -> dict[str, pa.Table]:
        """Kind → sample_id, copy_of (an id) and distance of the copies among the ids, uint64[N], of a part; by sample_id."""
        path, rows = self.file_of(part)
        table = read_sorted(storage, path, 0, rows)
        low, high = self.ranks.of_ids(ids)[[0, -1]] if len(ids) else (1, 0)
        ranks, kinds = table["rank"].to_numpy(), table["kind"].to_numpy(zero_copy_only=False)
        found = {}
        for kind in (*KEYS, "pixels", "semantic"):
            own = table.filter(pa.array((kinds == kind) & (ranks >= low) & (ranks <= high)))
            by_id = {name: self.ranks.ids(own[column].to_numpy()) for name, column in IDS.items()}
            found[kind] = pa.table({**by_id, "distance": own["distance"]})
        return found


IDS = {"sample_id": "rank", "copy_of": "copy_of"}


def find_copies(storage: Storage, parts: Sequence[Part], settings: DedupSettings) -> Copies:
    """The copies among parts that have `copy_keys`; SortFailed names tasks that failed. Done once for the same keys."""
    ranks = ranks_by(settings.source_priority)
    keys = {part: receipt.digest for part, receipt in read_receipts(storage, "copy_keys", parts).items()}
    content = content_digest(_keyed, _groups, _pairs, near_copies, semantic_copies, packages=PACKAGES)
    chosen = settings.model_dump(mode="json", include=CHOSEN)
    sorting = Sorting(
        storage, {"content": content, "settings": chosen}, [(ranks.first_of(part), part.rows) for part in sorted(keys)]
    )
    sources = [Source({"path": part.path("copy_keys"), "digest": keys[part]}, part.rows) for part in sorted(keys)]
    embedded = embedded_sources(storage, parts) if "semantic" in settings.kinds else []
    name = fingerprint_of({**sorting.depends_on, "sources": [source.value for source in [*sources, *embedded]]})
    listed = f"partial/{FOLDER}/{name}.json"
    if not storage.exists(listed):
        _search(sorting, sources, embedded, settings, ranks, listed)
    return Copies(sorting.rank_lows, [SortedFile(*file) for file in storage.read_json(listed)], ranks)


# What decides of copies: code, and settings.
PACKAGES = ["filters", "pipelines.corpus", "pipelines.runtime.external_sort"]
CHOSEN = {"kinds", "source_priority", "distance", "pixel_distance", "semantic_distance", "eval_quality"}


def _search(
    sorting: Sorting,
    sources: Sequence[Source],
    embedded: Sequence[Source],
    settings: DedupSettings,
    ranks: Ranks,
    listed: str,
) -> None:
    """Finds the copies of all kinds and lists their files; then removes what lies in between, and earlier results."""
    storage, found = sorting.storage, list[Source]()
    for kind in settings.kinds if sources else ():
        if kind == "pixels":
            files = near_copies(sorting, sources, settings, ranks)
        elif kind == "semantic":
            files = semantic_copies(sorting, embedded, settings.semantic_distance, ranks)
        else:
            read = partial(_keyed, storage=storage, column=KEYS[kind], ranks=ranks)
            combine = partial(_pairs, distance=settings.distance) if kind == "pair" else _groups
            files = sorting.by_key(kind, read, sources, combine)
        found += as_sources([file for file in files if file.rows], kind=kind)
    files = sorting.by_rank("found", ("rank", "kind"), partial(_found, storage=storage), found or [Source(None, 0)])
    earlier = storage.glob(f"partial/{FOLDER}/*.json")
    storage.write_json(listed, [list(file) for file in files])
    storage.remove(earlier)
    storage.remove(set(storage.glob(f"partial/{FOLDER}_found/*")) - {file.path for file in files})
    sorting.remove([*KEYS, *STAGES, "semantic", "means"])


def _keyed(source: Mapping[str, Any], *, storage: Storage, column: str, ranks: Ranks) -> pa.Table:
    """key, phash and rank of the samples of a part that have a key; for pairs, of those that have a hash of their picture."""
    names = ["sample_id", column, *(["phash"] if column == KEYS["pair"] else [])]
    table = storage.read_parquet(source["path"], names).drop_null()
    table = table.append_column("rank", pa.array(ranks.of_ids(table["sample_id"].to_numpy())))
    return table.drop_columns("sample_id").rename_columns({column: "key"})


def _groups(rows: pa.Table) -> pa.Table:
    """The copies among rows sorted by key: all of a key but the one of the lowest rank."""
    ranks = rows["rank"].to_numpy()
    first = first_of_groups(rows["key"].to_numpy(), ranks)
    is_copy = first != ranks
    return _copies(ranks[is_copy], first[is_copy], np.zeros(is_copy.sum()))


def _pairs(rows: pa.Table, *, distance: int) -> pa.Table:
    """The copies among rows sorted by key: of those with a near picture."""
    keys, hashes, ranks = (rows[name].to_numpy() for name in ("key", "phash", "rank"))
    copies, copy_of, distances = copies_within(keys, hashes, ranks, distance)
    return _copies(ranks[copies], copy_of, distances)


def _copies(ranks: np.ndarray, copy_of: np.ndarray, distances: np.ndarray) -> pa.Table:
    return pa.table({"rank": ranks, "copy_of": copy_of, "distance": distances.astype(np.float32)})


def _found(source: Mapping[str, Any] | None, *, storage: Storage) -> pa.Table:
    """The copies of one kind, with the kind."""
    if source is None:
        nothing = np.zeros(0, np.uint64)
        return _copies(nothing, nothing, nothing).append_column("kind", pa.array([], pa.string()))
    table = rows_of(storage, source)
    return table.append_column("kind", pa.repeat(source["kind"], len(table)))
