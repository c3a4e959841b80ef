"""Samples near a threshold of evaluation sets: matches of the whole manifest, and of a sample of rows what was just refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipelines.corpus.doubt import AGREEMENT, EMBEDDING, LOOK, DoubtfulPair, sampled, thresholds
from pipelines.corpus.duplicates import picture_hashes_of_part
from pipelines.corpus.evaluation_agreement import agreeing_matches
from pipelines.corpus.evaluation_embeddings import embedding_matches
from pipelines.corpus.evaluation_looks import confirmed_matches
from pipelines.corpus.evaluation_search import EvalSet, eval_matches
from pipelines.corpus.settings import DedupSettings
from pipelines.manifest import connect
from pipelines.manifest.join import read_family
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage

SAMPLED = 20_000  # rows among which what was refused is searched
BEYOND = {"pdq": 8, "both": 8, "phash": 2, "published": 2}  # bits
BELOW = {LOOK: 0.5, AGREEMENT: 0.3, EMBEDDING: 0.2}  # how far below its threshold what agrees too little is shown
LEAST = 0.01


def matched_items(storage: Storage, settings: DedupSettings, count: int) -> Iterator[DoubtfulPair]:
    """The matches that are nearest to each threshold, of the whole manifest."""
    known = thresholds(settings)
    nearest = "case when tier in ('agreement', 'embedding') then -coalesce(agreement, cosine) else distance end"
    rows = connect(storage.root).sql(
        "select tier, distance, cosine, agreement, sample_id, eval_item, eval_match from dedup where eval_match is not null "
        f"qualify row_number() over (partition by tier order by {nearest} desc, sample_id) <= {count} "
        f"or row_number() over (partition by distance is null order by agreement, sample_id) <= {count}"
    )
    for tier, distance, cosine, agreement, sample, item, name in rows.fetchall():
        by_hash = agreement if tier != AGREEMENT else None
        if tier in known:
            value = {AGREEMENT: agreement, EMBEDDING: cosine}.get(tier, distance)
            yield DoubtfulPair(tier, known[tier], value, sample, item, name, by_hash)
        if LOOK in known and by_hash is not None:
            yield DoubtfulPair(LOOK, known[LOOK], by_hash, sample, item, name)


def refused_items(
    storage: Storage, parts: Sequence[Part], settings: DedupSettings, sets: Sequence[EvalSet]
) -> Iterator[DoubtfulPair]:
    """Samples just beyond the thresholds, among a sample of rows."""
    near, far = settings.eval_both_distances
    wide = settings.model_copy(
        update={
            "eval_pdq_distance": settings.eval_pdq_distance + BEYOND["pdq"],
            "eval_distance": settings.eval_distance + BEYOND["phash"],
            "eval_both_distances": (near, far + BEYOND["both"]),
        }
    )
    known = thresholds(settings)
    for part in sampled(parts, SAMPLED) if sets else ():
        hashes = picture_hashes_of_part(storage, part).slice(0, SAMPLED)
        for row in eval_matches(hashes, sets, wide).to_pylist():
            if row["distance"] > known[row["tier"]]:
                yield _pair(row["tier"], known, row["distance"], row)
        matches = read_family(storage, part, "eval_matches", ["set"])
        matched = matches.filter(matches["set"].is_valid())["sample_id"].to_numpy()
        left = hashes.filter(pa.array(~np.isin(hashes["sample_id"].to_numpy(), matched)))
        yield from _agreeing_too_little(storage, part, left, settings, sets)


def _agreeing_too_little(
    storage: Storage, part: Part, left: pa.Table, settings: DedupSettings, sets: Sequence[EvalSet]
) -> Iterator[DoubtfulPair]:
    """Samples without a match that what agrees, or a cosine, refused."""
    known = thresholds(settings)
    least = {kind: max(LEAST, known[kind] - below) for kind, below in BELOW.items() if kind in known}
    ids = left["sample_id"].to_numpy()
    if LOOK in least:
        lower = settings.model_copy(update={"eval_hash_agreement": least[LOOK]})
        for row in confirmed_matches(storage, part, left, sets, lower)[0].to_pylist():
            if row["agreement"] is not None:
                yield _pair(LOOK, known, row["agreement"], row)
    if AGREEMENT in least:
        for row in agreeing_matches(storage, part, ids, sets, least[AGREEMENT], settings.eval_quality)[0].to_pylist():
            yield _pair(AGREEMENT, known, row["agreement"], row)
    if EMBEDDING in least:
        for row in embedding_matches(storage, part, ids, sets, least[EMBEDDING]).to_pylist():
            yield _pair(EMBEDDING, known, row["cosine"], row)


def _pair(kind: str, known: dict[str, float], value: float, row: dict[str, object]) -> DoubtfulPair:
    return DoubtfulPair(kind, known[kind], value, int(str(row["sample_id"])), str(row["item"]), str(row["set"]))
