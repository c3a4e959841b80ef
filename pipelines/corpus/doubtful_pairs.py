"""The pairs nearest to a threshold of `dedup`, on either side: what to look at before one is changed.

Pairs within a threshold are in the manifest. Those just beyond are in none, so they are searched for, among a sample of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from filters.duplicates.blocks import block_keys, choices, pairs_of_keys
from filters.duplicates.index import pairs_within
from pipelines.corpus.doubt import DoubtfulPair, sampled, thresholds
from pipelines.corpus.doubtful_items import matched_items, refused_items
from pipelines.corpus.evaluation_search import EvalSet
from pipelines.corpus.settings import DedupSettings
from pipelines.manifest import connect
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage

SAMPLED = 500_000  # rows among which pairs beyond a threshold are searched
BEYOND = {"pixels": 2, "pair": 3}  # bits


def doubtful_pairs(
    storage: Storage, parts: Sequence[Part], settings: DedupSettings, sets: Sequence[EvalSet], count: int
) -> list[DoubtfulPair]:
    """Of each kind that has a threshold the `count` pairs nearest to it on either side, the nearest to it first."""
    found = [*_recorded(storage, settings, count), *_beyond(storage, parts, settings)]
    found += [*matched_items(storage, settings, count), *refused_items(storage, parts, settings, sets)]
    groups: dict[tuple[str, bool], list[DoubtfulPair]] = {}
    for pair in sorted(found, key=lambda pair: (abs(pair.value - pair.threshold), pair.sample, str(pair.other))):
        groups.setdefault((pair.kind, pair.is_match), []).append(pair)
    return [pair for key in sorted(groups, key=lambda key: (key[0], not key[1])) for pair in groups[key][:count]]


def _recorded(storage: Storage, settings: DedupSettings, count: int) -> Iterator[DoubtfulPair]:
    """The copies within each threshold that are nearest to it, of the whole manifest."""
    connection, known = connect(storage.root), thresholds(settings)
    for kind in ("pixels", "pair"):
        rows = connection.sql(
            f"select {kind}_distance, sample_id, {kind}_copy_of from dedup where {kind}_copy_of is not null "
            f"order by {kind}_distance desc, sample_id limit {count}"
        ).fetchall()
        yield from (DoubtfulPair(kind, known[kind], *row) for row in rows)


def _beyond(storage: Storage, parts: Sequence[Part], settings: DedupSettings) -> Iterator[DoubtfulPair]:
    """Pairs of samples just beyond each threshold, among a sample of rows."""
    columns = ["sample_id", "phash", "pdq_quality", "caption"]
    tables = [storage.read_parquet(part.path("copy_keys"), columns) for part in sampled(parts, SAMPLED)]
    table = pa.concat_tables(tables).slice(0, SAMPLED)
    table = table.filter(table["phash"].is_valid())
    if "pair" in settings.kinds:
        with_words = table.filter(table["caption"].is_valid())
        ids, hashes, captions = (with_words[name].to_numpy() for name in ("sample_id", "phash", "caption"))
        pairs = pairs_within(captions, hashes, settings.distance + BEYOND["pair"])
        yield from _pairs("pair", settings.distance, ids, hashes, [pairs])
    if "pixels" in settings.kinds:
        is_told = table["pdq_quality"].fill_null(100).to_numpy() >= settings.eval_quality
        ids, hashes = (table[name].to_numpy() for name in ("sample_id", "phash"))
        hashes, first = np.unique(hashes[is_told], return_index=True)
        yield from _pairs("pixels", settings.pixel_distance, ids[is_told][first], hashes, _near(hashes, settings.pixel_distance))


def _near(hashes: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    wide = distance + BEYOND["pixels"]
    for choice in range(len(choices(wide))):
        keys = block_keys(hashes, wide, choice)
        order = np.argsort(keys)
        one, other = pairs_of_keys(keys[order], hashes[order], wide)
        yield order[one], order[other]


def _pairs(
    kind: str, threshold: int, ids: np.ndarray, hashes: np.ndarray, pairs: Iterable[tuple[np.ndarray, np.ndarray]]
) -> Iterator[DoubtfulPair]:
    """The pairs of rows that are beyond the threshold."""
    for one, other in pairs:
        distances = np.bitwise_count(hashes[one] ^ hashes[other])
        beyond = distances > threshold
        low, high = (pick(ids[one[beyond]], ids[other[beyond]]).tolist() for pick in (np.minimum, np.maximum))
        for distance, sample, copied in zip(distances[beyond].tolist(), high, low, strict=True):
            yield DoubtfulPair(kind, threshold, distance, sample, copied)
