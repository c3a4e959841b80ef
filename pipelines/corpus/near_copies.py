"""Pictures of the whole corpus that look the same: the copies of kind `pixels`.

    keys ─distinct─▶ hashes with the lowest rank that has each ─blocks─▶ near pairs ─pairs─▶ by rank ─judged─▶ copies among hashes
    copies among hashes, and samples that share a hash ─members─▶ copies among samples

A hash that a million samples share is compared once. Hashes are judged by rank, one after the other (`filters.duplicates.index`),
in one task: whether one stays depends on all before it. It holds 8 bytes for each that does not stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from filters.duplicates.blocks import SPREAD, block_keys, choices, pairs_of_keys
from filters.duplicates.index import first_of_groups, keep_first
from pipelines.corpus.ranks import Ranks
from pipelines.corpus.settings import DedupSettings
from pipelines.corpus.sorting import FOLDER, Sorting, as_sources, rows_of
from pipelines.manifest.receipts import fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.external_sort import SortedFile, SortFailed, Source
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items

STAGES = ("distinct", "blocks", "pairs", "judged", "members")


def near_copies(sorting: Sorting, keys: Sequence[Source], settings: DedupSettings, ranks: Ranks) -> list[SortedFile]:
    """Files of rank, copy_of (a rank) and distance, given sources that name `copy_keys`."""
    storage, distance = sorting.storage, settings.pixel_distance
    read = partial(_told, storage=storage, ranks=ranks, quality=settings.eval_quality)
    hashes = sorting.by_key("distinct", read, keys, _with_first)
    filed = [source for choice in range(len(choices(distance))) for source in as_sources(hashes, choice=choice)]
    compare = partial(_near, distance=distance)
    pairs = sorting.by_key("blocks", partial(_filed, storage=storage, distance=distance), filed, compare)
    by_rank = sorting.by_rank("pairs", ("second", "first"), partial(rows_of, storage), as_sources(pairs))
    judged = _judged(sorting, by_rank)
    members = partial(_members, storage=storage)
    return sorting.by_rank("members", ("key",), members, as_sources(hashes) + as_sources(judged, judged=True), _of_members)


def _told(source: Mapping[str, Any], *, storage: Storage, ranks: Ranks, quality: int) -> pa.Table:
    """key, phash and rank of the samples of a part whose pictures are not too flat to be told apart."""
    table = storage.read_parquet(source["path"], ["sample_id", "phash", "pdq_quality"])
    is_told = table["phash"].is_valid().to_numpy() & ~(table["pdq_quality"].fill_null(100).to_numpy() < quality)
    table = table.filter(pa.array(is_told))
    hashes = table["phash"].to_numpy()
    return pa.table({"key": hashes * SPREAD, "phash": hashes, "rank": ranks.of_ids(table["sample_id"].to_numpy())})


def _with_first(rows: pa.Table) -> pa.Table:
    """phash, rank, and the lowest rank that has the hash."""
    ranks = rows["rank"].to_numpy()
    return pa.table({"phash": rows["phash"], "rank": ranks, "first": first_of_groups(rows["key"].to_numpy(), ranks)})


def _filed(source: Mapping[str, Any], *, storage: Storage, distance: int) -> pa.Table:
    """key, phash and rank of each distinct hash, under one choice of blocks."""
    table = rows_of(storage, source)
    hashes, ranks, first = (table[name].to_numpy() for name in ("phash", "rank", "first"))
    hashes, ranks = hashes[ranks == first], ranks[ranks == first]
    return pa.table({"key": block_keys(hashes, distance, source["choice"]), "phash": hashes, "rank": ranks})


def _near(rows: pa.Table, *, distance: int) -> pa.Table:
    """first, second and distance of near pairs among rows sorted by key, the lower rank first."""
    keys, hashes, ranks = (rows[name].to_numpy() for name in ("key", "phash", "rank"))
    one, other = pairs_of_keys(keys, hashes, distance)
    return pa.table(
        {
            "first": np.minimum(ranks[one], ranks[other]),
            "second": np.maximum(ranks[one], ranks[other]),
            "distance": np.bitwise_count(hashes[one] ^ hashes[other]).astype(np.float32),
        }
    )


def _judged(sorting: Sorting, pairs: Sequence[SortedFile]) -> list[SortedFile]:
    """Files of rank, copy_of and distance: the hashes, by the lowest rank that has each, that are copies of one that stays."""
    storage, name = sorting.storage, f"{FOLDER}_judged"
    folder = f"partial/{name}/{fingerprint_of({'depends_on': sorting.depends_on, 'pairs': [pair.path for pair in pairs]})}"

    def work(item: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
        copies, rows = np.zeros(0, np.uint64), list[int]()
        for number, file in enumerate(item["files"]):
            judged = _judge(rows_of(storage, {"file": file}), copies)
            copies = np.append(copies, judged["rank"].to_numpy())
            storage.write_parquet(f"{folder}-{number}.parquet", judged)
            rows.append(len(judged))
            reporter(file[1])
        return {"rows": rows}

    items = [{"label": "all pairs", "files": [list(pair) for pair in pairs]}]
    for label, result, error in run_items(items, work, name=name, unit="pairs", total=sum(pair.rows for pair in pairs)):
        if error:
            raise SortFailed({f"{name} {label}": error})
        return [SortedFile(f"{folder}-{number}.parquet", rows) for number, rows in enumerate(result["rows"])]
    raise AssertionError("run_items gives a result for each item")


def _judge(pairs: pa.Table, copies: np.ndarray) -> pa.Table:
    """rank, copy_of and distance of the copies that pairs tell of, which are sorted by `second`.

    `copies` uint64[C], ascending, are the ranks below all of these pairs' that do not stay.
    """
    first, second, distances = (pairs[name].to_numpy() for name in ("first", "second", "distance"))
    place = np.searchsorted(copies, first)
    place[place == len(copies)] = 0
    stays = copies[place] != first if len(copies) else np.ones(len(first), bool)
    first, second, distances = first[stays], second[stays], distances[stays]
    ranks, rows = np.unique(np.concatenate([first, second]), return_inverse=True)
    first_rows, second_rows = rows[: len(first)], rows[len(first) :]
    copy_of = keep_first(first_rows, second_rows, len(ranks))
    named = copy_of[second_rows] == first_rows
    return pa.table({"rank": second[named], "copy_of": first[named], "distance": distances[named]})


def _members(source: Mapping[str, Any], *, storage: Storage) -> pa.Table:
    """Rank, copy_of and distance of samples that share a hash, or of judged hashes; key: the lowest rank that has the hash."""
    if source.get("judged"):
        table = storage.read_parquet(source["file"][0])
        return table.add_column(0, "key", table["rank"])
    table = rows_of(storage, source)
    table = table.filter(pa.array(table["rank"].to_numpy() != table["first"].to_numpy()))
    distance = pa.array(np.zeros(len(table), np.float32))
    return pa.table({"key": table["first"], "rank": table["rank"], "copy_of": table["first"], "distance": distance})


def _of_members(rows: pa.Table) -> pa.Table:
    """rank, copy_of and distance: where a hash is a copy of another, so are all samples that have it."""
    keys, ranks, copy_of, distances = (rows[name].to_numpy() for name in ("key", "rank", "copy_of", "distance"))
    judged = np.flatnonzero(keys == ranks)
    if len(judged):
        place = np.minimum(np.searchsorted(keys[judged], keys), len(judged) - 1)
        follows = keys[judged[place]] == keys
        copy_of = np.where(follows, copy_of[judged[place]], copy_of)
        distances = np.where(follows, distances[judged[place]], distances)
    return pa.table({"rank": ranks, "copy_of": copy_of, "distance": distances})
