"""Samples that repeat another, and samples that show a picture of an evaluation set → the family `dedup`, with the evidence.

    copy_keys ──copies.py──▶ of each kind, which sample each copies ─┐
    hashes ──evaluation_search.py, evaluation_looks.py──▶ `eval_matches` ─────────────────┴─▶ `dedup`

A sample is dropped as a copy, `duplicate_of`, where it is one in a kind of `dedup.drop`; other kinds are evidence. The sample
that it copies has a lower rank (`ranks.py`), so of samples that are copies of each other one stays, whichever kinds are dropped.

Only samples that stage 1 keeps are compared, and with each other only those that were downloaded; others are compared with
evaluation sets by their publisher's hash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates.descriptors import PATH
from filters.duplicates.hashes import without_brightness
from infra.compat.content import content_digest
from pipelines.corpus.copies import Copies, find_copies
from pipelines.corpus.copy_keys import INPUTS, keys_step
from pipelines.corpus.evaluation_agreement import agreeing_matches
from pipelines.corpus.evaluation_embeddings import embedding_matches
from pipelines.corpus.evaluation_looks import confirmed_matches
from pipelines.corpus.evaluation_search import EvalSet, candidates
from pipelines.corpus.evaluation_sets import describe
from pipelines.corpus.settings import DedupSettings
from pipelines.manifest.embeddings import FAMILY
from pipelines.manifest.join import locate, read_columns, read_family
from pipelines.manifest.parts import Part
from pipelines.manifest.selection import WITH_PICTURE, columns_of, mask_of
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from pipelines.runtime.external_sort import SortFailed
from pipelines.runtime.progress import Reporter
from pipelines.runtime.step import Outcome, PartResult, Step, run_step

DISTANCES = {"pixels": pa.int32(), "pair": pa.int32(), "semantic": pa.float32()}  # kinds whose copies differ


def run_dedup(storage: Storage, parts: Sequence[Part], settings: DedupSettings, sets: Sequence[EvalSet]) -> Outcome:
    """Makes `dedup` of these parts; an item of a set that could not be read is a failure, named."""
    hashed = run_step(storage, keys_step(), parts)
    matched = hashed if hashed.failed else run_step(storage, _matching(settings, sets), parts)
    if matched.failed:
        return matched
    try:
        copies = find_copies(storage, parts, settings)
    except SortFailed as error:
        return Outcome(hashed.counts, len(parts), hashed.ran, error.causes)
    outcome = run_step(storage, _joining(settings, copies), parts)
    outcome.counts["reason.no_hash"] = hashed.counts["reason.no_hash"]
    outcome.counts |= {name: count for name, count in matched.counts.items() if name.startswith("reason.")}
    outcome.failed |= faults_of(sets)
    outcome.lost |= hashed.lost | matched.lost
    return outcome


def faults_of(sets: Sequence[EvalSet]) -> dict[str, str]:
    """The items of sets that could not be read, as a job's `failed`."""
    return {f"evaluation set {each.name}: {item}": fault for each in sets for item, fault in each.faults.items()}


def _matching(settings: DedupSettings, sets: Sequence[EvalSet]) -> Step:
    """The step that makes `eval_matches`."""
    common: dict[str, object] = {
        "sets": describe(sets),
        "hash_agreement": settings.eval_hash_agreement,
        "eval": [settings.eval_distance, settings.eval_pdq_distance, settings.eval_both_distances, settings.eval_quality],
    }
    by_cosine, by_agreement = settings.eval_cosine is not None, settings.eval_agreement is not None
    common |= {"cosine": settings.eval_cosine} if by_cosine else {}
    common |= {"agreement": [settings.eval_agreement, content_digest(PATH)]} if by_agreement else {}
    return Step(
        family="eval_matches",
        inputs=(*INPUTS, "copy_keys", *([FAMILY] if by_cosine else [])),
        settings=lambda part: common,
        work=partial(match_part, settings=settings, sets=sets),
        content=(candidates, confirmed_matches, embedding_matches, agreeing_matches),
        reads_pictures=True,
    )


def _joining(settings: DedupSettings, copies: Copies) -> Step:
    """The step that makes `dedup`."""

    def about(part: Part) -> Mapping[str, object]:
        return {"drop": settings.drop, "copies": copies.file_of(part).path}

    work = partial(join_part, settings=settings, copies=copies)
    return Step("dedup", (*INPUTS, "eval_matches"), about, work, (Copies.of_part,))


def match_part(
    storage: Storage, part: Part, reporter: Reporter, *, settings: DedupSettings, sets: Sequence[EvalSet]
) -> PartResult:
    """`eval_matches` of a part: the samples that show a picture of an evaluation set."""
    matches, unread = confirmed_matches(storage, part, picture_hashes_of_part(storage, part), sets, settings)
    matches = conform(matches, "eval_matches")
    compared = storage.read_parquet(part.path("copy_keys"), ["sample_id"])["sample_id"].to_numpy()
    if settings.eval_agreement is not None:
        left = np.setdiff1d(compared, matches["sample_id"].to_numpy())
        found, errors = agreeing_matches(storage, part, left, sets, settings.eval_agreement, settings.eval_quality)
        unread |= errors
        matches = pa.concat_tables([matches, conform(found, "eval_matches")]).sort_by("sample_id")
    if settings.eval_cosine is not None:
        left = np.setdiff1d(compared, matches["sample_id"].to_numpy())
        found = conform(embedding_matches(storage, part, left, sets, settings.eval_cosine), "eval_matches")
        matches = pa.concat_tables([matches, found]).sort_by("sample_id")
    reporter(part.rows)
    return PartResult(_with_errors(matches, unread), {f"reason.{why}": count for why, count in Counter(unread.values()).items()})


def _with_errors(matches: pa.Table, unread: Mapping[int, str]) -> pa.Table:
    """`eval_matches` with why pictures could not be read; a sample without a match has a row for that alone."""
    errors = pa.table({"sample_id": pa.array(unread.keys(), pa.uint64()), "error": pa.array(unread.values(), pa.string())})
    more = errors.filter(pc.invert(pc.is_in(errors["sample_id"], matches["sample_id"].combine_chunks())))
    known = errors["error"].take(pc.index_in(matches["sample_id"], errors["sample_id"].combine_chunks()))
    matches = matches.set_column(matches.column_names.index("error"), "error", known)
    return pa.concat_tables([matches, conform(more, "eval_matches")]).sort_by("sample_id")


def join_part(storage: Storage, part: Part, reporter: Reporter, *, settings: DedupSettings, copies: Copies) -> PartResult:
    """`dedup` of a part, a row per sample: its copies of each kind, and its evaluation pictures."""
    samples = storage.read_parquet(part.path("samples"), ["sample_id"])
    ids = samples["sample_id"].to_numpy()
    matches = read_family(storage, part, "eval_matches")
    match_rows = locate(matches["sample_id"].to_numpy(), ids)
    columns, counts = {"sample_id": samples["sample_id"]}, {}
    dropped, kind_dropped = pa.nulls(len(ids), pa.uint64()), pa.nulls(len(ids), pa.string())
    distance = matches["distance"].take(match_rows)
    of_sets = {name: matches[column].take(match_rows) for name, column in MATCH_COLUMNS.items()}
    found = copies.of_part(storage, part, ids)
    for kind in dict.fromkeys([*settings.drop, *found]):
        rows = locate(found[kind]["sample_id"].to_numpy(), ids)
        copy_of, apart = found[kind]["copy_of"].take(rows), found[kind]["distance"].take(rows)
        columns[f"{kind}_copy_of"] = copy_of
        columns |= {f"{kind}_distance": apart.cast(DISTANCES[kind])} if kind in DISTANCES else {}
        counts[f"{kind}_copies"] = len(found[kind])
        if kind in settings.drop:
            is_new = pc.and_not(copy_of.is_valid(), pc.is_valid(dropped))
            kind_dropped = pc.if_else(is_new, kind, kind_dropped)
            bits = pa.nulls(len(ids), pa.int32()) if kind == "semantic" else apart.cast(pa.int32())
            # Of an evaluation picture it is the distance to the item.
            distance = pc.if_else(pc.and_(is_new, pc.is_null(of_sets["eval_match"])), bits, distance)
            dropped = pc.coalesce(dropped, copy_of)
    evidence = {"duplicate_of": dropped, "duplicate_kind": kind_dropped, "distance": distance}
    reporter(part.rows)
    counts |= {"copies": len(ids) - dropped.null_count, "eval_matches": len(matches) - matches["set"].null_count}
    return PartResult(pa.table({**columns, **evidence, **of_sets}), counts)


OF_ITEMS = ("variant", "tier", "cosine", "agreement", "error")
MATCH_COLUMNS = {"eval_match": "set", "eval_item": "item", **{name: name for name in OF_ITEMS}}


def picture_hashes_of_part(storage: Storage, part: Part) -> pa.Table:
    """The hashes by which the pictures of a part are compared with evaluation sets, as `eval_matches` takes them."""
    table = read_columns(storage, part, dict.fromkeys(["pdq", "pdq_quality", "image_phash", *columns_of(WITH_PICTURE)]))
    keys = storage.read_parquet(part.path("copy_keys"), ["sample_id", "phash"])
    is_stored = mask_of(table, WITH_PICTURE)
    is_elsewhere = pc.and_not(mask_of(table, WITH_PICTURE[1:]), is_stored)
    return pa.table(
        {
            "sample_id": table["sample_id"],
            "pdq": pc.if_else(is_stored, table["pdq"], pa.scalar(None, pa.string())),
            "pdq_quality": table["pdq_quality"],
            "phash": keys["phash"].take(locate(keys["sample_id"].to_numpy(), table["sample_id"].to_numpy())),
            "published": pc.if_else(is_elsewhere, without_brightness(table["image_phash"]), pa.scalar(None, pa.uint64())),
        }
    )
