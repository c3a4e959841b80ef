"""Exports kept samples: plans of parts, their rows sorted, shards, then each part's own rows.

A sample's place is a hash of its id, so the shuffle is global and the same at every run: each part writes its kept samples in the
order of the hash, these are sorted together (`external_sort`), each shard takes its ranks of the whole, and where the samples
went is scattered back to their parts (the family `shards_<name>`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa

from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from pipelines.exporting.card import data_card
from pipelines.exporting.claim import CARD, META, Claim, forget
from pipelines.exporting.grouping import SORTED_BY, grouped
from pipelines.exporting.places import scatter
from pipelines.exporting.plan import FIRST_HELD_OUT, HELD_OUT, TRAIN, TYPES, plan_part
from pipelines.exporting.settings import ExportSettings
from pipelines.exporting.shards import causes, fingerprinted, write_shards, written_before
from pipelines.exporting.sizes import samples_of_splits, shard_counts, shard_ranks
from pipelines.exporting.where import columns_of_condition, meets
from pipelines.manifest.parts import Part
from pipelines.manifest.precedence import LATEST_EXPORT, families_of
from pipelines.manifest.receipts import fingerprint_of, read_receipts
from pipelines.manifest.score_columns import read_score_columns
from pipelines.manifest.storage import Storage
from pipelines.runtime import external_sort
from pipelines.runtime.external_sort import ExternalSort, SortFailed, Source, even_lows
from pipelines.runtime.step import Outcome, Step, run_step
from sharding.index import SHUFFLED, summary_bytes
from sharding.layout import SUMMARY

PLAN_SETTINGS = {"holdout", "holdout_by", "seed", "captions", "synthetic_share", "captions_per_sample", "where", "weights"}
INPUTS = ("samples", "fetch", "stage1", "stage2", "dedup")


def run_export(storage: Storage, parts: Sequence[Part], settings: ExportSettings, name: str, claim: Claim) -> Outcome:
    """Plans of parts, shards, then each part's own rows, in a folder that the export has claimed.

    RequestError while a filter has not judged every part, where the settings do not fit the manifest, or where pictures are of
    several types and the settings do not say what to do. A picture that is not what was fetched is left out, counted, and named
    as a failure.
    """
    plan = plan_step(storage, parts, settings, name)
    planned = run_step(storage, plan, parts)
    if planned.failed:
        return planned
    types = types_of(planned.counts, settings)
    receipts = read_receipts(storage, plan.family, parts)
    inputs = fingerprint_of({str(part): receipt.digest for part, receipt in receipts.items()})
    sources = [Source(asdict(part), receipt.rows_out) for part, receipt in receipts.items()]
    rows, items = _sort(storage, plan.family, planned.counts, len(parts), settings, inputs), list[dict[str, Any]]()
    try:
        files = rows.run(sources) if settings.captions_per_sample > 1 else []  # only then it is known how many samples there are
        counts = samples_of_splits(files, rows.lows, planned.counts) if files else planned.counts
        items = fingerprinted([*shard_ranks(counts, settings)], settings, {"inputs": inputs, "types": types})
        written = written_before(claim.out, items)
        todo = [item for item in items if item["label"] not in written.receipts]
        claim = _announce(storage, name, claim, items, changes=bool(todo))
        if todo:
            new = write_shards(storage, claim.out, todo, files or rows.run(sources), settings, types)
            written.receipts |= new.receipts
            if new.failed:
                return Outcome(planned.counts, len(parts), len(items), new.failed)
        splits = written.splits(items)
        about = {"settings": {**settings.model_dump(exclude={"out"}), "name": name}, "plan": inputs, SHUFFLED: True}
        claim.out.write(SUMMARY, summary_bytes(splits, about))
        if isinstance(settings.stage, int):
            claim.out.remove([CARD])  # of an export that this one replaces
        else:
            claim.out.write(CARD, data_card(settings, receipts))
        claim.out.remove([META])
        claim.remove_beyond(Counter(item["split"] for item in items))
        shards = [shard for shards in splits.values() for shard in shards]
        outcome = scatter(storage, parts, name, shards, written.lost, claim.out, settings.captions_per_sample)
    except SortFailed as error:
        return Outcome(planned.counts, len(parts), len(items), error.causes)
    rows.remove()
    storage.write_json(LATEST_EXPORT, {"family": f"shards_{name}", "uri": claim.out.root, "shards": len(shards)})
    totals = {name: sum(getattr(shard, name) for shard in shards) for name in ("samples", "bytes")}
    outcome.counts.update({"shards": len(shards), **totals})
    outcome.failed |= causes(written.lost)
    return outcome


def plan_step(storage: Storage, parts: Sequence[Part], settings: ExportSettings, name: str) -> Step:
    """The step that plans parts; RequestError while a filter has not judged every part, or for settings that don't fit."""
    settings.require_consistent()
    _require_verdicts(storage, parts, ("stage1",) if settings.filter == 1 else ("stage1", "stage2"))
    unknown = sorted(set(settings.weights) - {part.source for part in parts})
    if unknown:
        known = ", ".join(sorted({part.source for part in parts}))
        raise RequestError(f"export.weights names {', '.join(unknown)}, of which nothing was ingested; there are {known}")
    columns = columns_of_condition(settings.where, read_score_columns(storage)) if settings.where else []
    families = [*INPUTS, *(["captions"] if settings.captions != "original" else []), *families_of(columns)]
    return Step(
        family=f"export_{name}",
        inputs=tuple(dict.fromkeys(families)),
        settings=lambda part: {"stage": settings.filter, **settings.model_dump(include=PLAN_SETTINGS)},
        work=partial(plan_part, settings=settings, stage=settings.filter, where_columns=columns),
        content=(meets,),
    )


def types_of(counts: Mapping[str, int], settings: ExportSettings) -> list[str]:
    """The endings that pictures of the export may have; RequestError where stored pictures would need several."""
    by_type = {name.removeprefix(TYPES): count for name, count in counts.items() if name.startswith(TYPES)}
    if settings.pictures == "stored" and len(by_type) > 1:
        found = ", ".join(f"{count:,} {ending}" for ending, count in sorted(by_type.items(), key=lambda item: -item[1]))
        raise RequestError(
            f"the kept pictures are of several types ({found}), and most readers need one; set export.pictures to jpg, png or "
            "webp to encode the others anew, or to mixed"
        )
    return sorted(by_type) if settings.pictures == "stored" else []


def _sort(
    storage: Storage, family: str, counts: Mapping[str, int], parts: int, settings: ExportSettings, inputs: str
) -> ExternalSort:
    """The sort of the rows of all plans in the order of the export, captions of a picture brought together where asked for."""
    train, held_out, most = counts[TRAIN], counts[HELD_OUT], settings.captions_per_sample
    lows = even_lows(0, FIRST_HELD_OUT, train) + even_lows(FIRST_HELD_OUT, 2 * FIRST_HELD_OUT, held_out)
    content = content_digest(ExternalSort, grouped, packages=["pipelines.runtime.external_sort", "pipelines.exporting.grouping"])
    return ExternalSort(
        storage,
        f"{family}_sorted",
        by=("order", "sample_id", "repeat") if most == 1 else SORTED_BY,
        lows=[0] if most == 1 and train + held_out <= external_sort.BUCKET_ROWS else lows,
        read=partial(_rows_of_plan, storage=storage, family=family),
        most_opens=(parts + sum(shard_counts(counts, settings).values())) // 4,
        depends_on={"inputs": inputs, "content": content},
        combine=None if most == 1 else partial(grouped, most=most),
    )


def _rows_of_plan(part: dict[str, Any], *, storage: Storage, family: str) -> pa.Table:
    return storage.read_parquet(Part(**part).path(family))


def _announce(storage: Storage, name: str, claim: Claim, items: Sequence[Mapping[str, Any]], *, changes: bool) -> Claim:
    """Before shards change, forgets what is known of the old ones, and notes how many there will be."""
    counts = Counter(item["split"] for item in items)
    if not changes and counts == Counter(claim.shards):
        return claim
    # Until the new shards are whole, nobody is told of the old ones.
    forget(storage, name)
    claim.out.remove([SUMMARY])
    return claim.extend(counts)


def _require_verdicts(storage: Storage, parts: Sequence[Part], stages: Sequence[str]) -> None:
    """Nothing is exported that was not judged: a missing verdict counts as kept everywhere else."""
    for stage in stages:
        judged = read_receipts(storage, stage, parts)
        unjudged = [part for part in parts if part not in judged]
        if unjudged:
            raise RequestError(
                f"{stage} has not judged {len(unjudged)} of {len(parts)} parts ({unjudged[0]} …); run `pairmill {stage}`"
            )
