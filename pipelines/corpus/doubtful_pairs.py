"""The pairs nearest to a threshold of `dedup`, on either side: what to look at before one is changed.

Pairs within a threshold are in the manifest. Those just beyond are in none, so they are searched for, among a sample of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from filters.duplicates.blocks import block_keys, choices, pairs_of_keys
from filters.duplicates.index import pairs_within
from pipelines.corpus.duplicates import picture_hashes_of_part
from pipelines.corpus.evaluation_search import EvalSet, eval_matches
from pipelines.corpus.settings import DedupSettings
from pipelines.manifest import connect
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import fingerprint_of
from pipelines.manifest.storage import Storage

SAMPLED, SAMPLED_FOR_SETS = 500_000, 20_000  # rows among which pairs beyond a threshold are searched
BEYOND = {"pixels": 2, "pair": 3, "pdq": 8, "both": 8, "phash": 2, "published": 2}  # bits


class DoubtfulPair(NamedTuple):
    """A sample and what it may repeat: another sample, or where `set` is named an item of an evaluation set."""

    kind: str
    threshold: int
    distance: int
    sample: int
    other: int | str
    set: str = ""

    @property
    def is_match(self) -> bool:
        """Whether it is within the threshold."""
        return self.distance <= self.threshold


def doubtful_pairs(
    storage: Storage, parts: Sequence[Part], settings: DedupSettings, sets: Sequence[EvalSet], count: int
) -> list[DoubtfulPair]:
    """Of each kind that has a threshold the `count` pairs nearest to it on either side, the nearest to it first."""
    found = [*_recorded(storage, settings, count), *_beyond(storage, parts, settings)]
    found += _beyond_of_sets(storage, parts, settings, sets)
    groups: dict[tuple[str, bool], list[DoubtfulPair]] = {}
    for pair in sorted(found, key=lambda pair: (abs(pair.distance - pair.threshold), pair.sample, str(pair.other))):
        groups.setdefault((pair.kind, pair.is_match), []).append(pair)
    return [pair for key in sorted(groups, key=lambda key: (key[0], not key[1])) for pair in groups[key][:count]]


def _thresholds(settings: DedupSettings) -> dict[str, int]:
    return {
        "pixels": settings.pixel_distance,
        "pair": settings.distance,
        "pdq": settings.eval_pdq_distance,
        "both": settings.eval_both_distances[1],
        "phash": settings.eval_distance,
        "published": settings.eval_distance,
    }


def _recorded(storage: Storage, settings: DedupSettings, count: int) -> Iterator[DoubtfulPair]:
    """The pairs within each threshold that are nearest to it, of the whole manifest."""
    connection, thresholds = connect(storage.root), _thresholds(settings)
    for kind in ("pixels", "pair"):
        rows = connection.sql(
            f"select {kind}_distance, sample_id, {kind}_copy_of from dedup where {kind}_copy_of is not null "
            f"order by {kind}_distance desc, sample_id limit {count}"
        ).fetchall()
        yield from (DoubtfulPair(kind, thresholds[kind], *row) for row in rows)
    rows = connection.sql(
        "select tier, distance, sample_id, eval_item, eval_match from dedup where eval_match is not null "
        f"qualify row_number() over (partition by tier order by distance desc, sample_id) <= {count}"
    ).fetchall()
    yield from (DoubtfulPair(tier, thresholds[tier], *row) for tier, *row in rows if tier in thresholds)


def _beyond(storage: Storage, parts: Sequence[Part], settings: DedupSettings) -> Iterator[DoubtfulPair]:
    """Pairs of samples just beyond each threshold, among a sample of rows."""
    columns = ["sample_id", "phash", "pdq_quality", "caption"]
    tables = [storage.read_parquet(part.path("copy_keys"), columns) for part in _sampled(parts, SAMPLED)]
    table = pa.concat_tables(tables).slice(0, SAMPLED)
    table = table.filter(table["phash"].is_valid())
    ids, hashes, captions = (table[name].to_numpy() for name in ("sample_id", "phash", "caption"))
    if "pair" in settings.kinds:
        pairs = pairs_within(captions, hashes, settings.distance + BEYOND["pair"])
        yield from _pairs("pair", settings.distance, ids, hashes, [pairs])
    if "pixels" in settings.kinds:
        is_told = table["pdq_quality"].fill_null(100).to_numpy() >= settings.eval_quality
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


def _beyond_of_sets(
    storage: Storage, parts: Sequence[Part], settings: DedupSettings, sets: Sequence[EvalSet]
) -> Iterator[DoubtfulPair]:
    """Samples just beyond the thresholds of evaluation sets, among a sample of rows."""
    near, far = settings.eval_both_distances
    wide = settings.model_copy(
        update={
            "eval_pdq_distance": settings.eval_pdq_distance + BEYOND["pdq"],
            "eval_distance": settings.eval_distance + BEYOND["phash"],
            "eval_both_distances": (near, far + BEYOND["both"]),
        }
    )
    thresholds = _thresholds(settings)
    for part in _sampled(parts, SAMPLED_FOR_SETS) if sets else ():
        hashes = picture_hashes_of_part(storage, part).slice(0, SAMPLED_FOR_SETS)
        for row in eval_matches(hashes, sets, wide).to_pylist():
            if row["distance"] > thresholds[row["tier"]]:
                yield DoubtfulPair(
                    row["tier"], thresholds[row["tier"]], row["distance"], row["sample_id"], row["item"], row["set"]
                )


def _sampled(parts: Sequence[Part], rows: int) -> Iterator[Part]:
    """Parts in an order that depends on their names alone, until they have so many rows."""
    for part in sorted(parts, key=lambda part: fingerprint_of({"part": str(part)})):
        yield part
        rows -= part.rows
        if rows <= 0:
            return
