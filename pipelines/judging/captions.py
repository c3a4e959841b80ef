"""The caption rules over one part, slice by slice: of a part's captions a worker holds one slice.

Columns of families other than `samples` that rules read, and the counts of shared captions, are held for the whole part.

It is apart from the job, since a worker imports what it needs for this and nothing of recipes and command lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import pyarrow as pa

from filters.rules import RuleSetting, evaluate
from filters.stage2 import PICTURES, QUALITY, QUALITY_PARTS, columns_of, final_quality
from filters.text.language import identify
from filters.text.repair import repair
from infra.compat.memory import return_freed_memory
from pipelines.judging.verdicts import verdict_counts
from pipelines.manifest.join import column_slices, locate
from pipelines.manifest.parquet import GROUP_ROWS
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.step import PartResult

# Judged at a time, a sixth of a row group: many, as every pattern is compiled for each slice; so few that they take 25 MB.
ROWS, BYTES = -(-GROUP_ROWS // 6), 2 << 20


def judge_part(
    storage: Storage,
    part: Part,
    reporter: Reporter,
    *,
    rules: Sequence[RuleSetting],
    columns: Sequence[str],
    read_counts: Callable[[Storage, Part], pa.Table] | None,
    repairs: bool,
) -> PartResult:
    """The columns of stage2 for one part by the rules, given which columns these read beside captions, who reads (sample_id,
    pictures) where they ask how many pictures share a caption, and whether captions are repaired first.
    """
    slices = column_slices(storage, part, dict.fromkeys(["caption", *columns]), ROWS)
    shared = read_counts(storage, part).combine_chunks() if read_counts else None
    counts_of_all = Counter[str]()

    def judged() -> Iterator[pa.Table]:
        for known in chain.from_iterable(map(_short, slices)):
            return_freed_memory()  # by the slice before, by writing it and by reading this one
            table = _verdicts(known, _pictures(shared, known), rules, part.source, repairs=repairs)
            keep, reasons = (table[name].combine_chunks() for name in ("keep", "reasons"))
            counts_of_all.update(verdict_counts(keep, reasons), repaired=len(table) - table["caption_repaired"].null_count)
            reporter(len(table))
            yield table

    tables = judged()
    return PartResult(next(tables), counts_of_all, more=tables)


def _short(known: pa.Table) -> Iterator[pa.Table]:
    """The rows, one table at least, so many at a time that their captions take `BYTES` or not much more."""
    rows = max(1, len(known) * BYTES // max(BYTES, known["caption"].nbytes))
    for start in range(0, max(1, len(known)), rows):
        yield known.slice(start, rows)


def _pictures(shared: pa.Table | None, known: pa.Table) -> pa.ChunkedArray:
    """How many pictures share the caption of each row: int32[N], NULL where it is not known."""
    if shared is None:
        return pa.chunked_array([pa.nulls(len(known), pa.int32())])
    return shared["pictures"].take(locate(shared["sample_id"].to_numpy(), known["sample_id"].to_numpy()))


def _verdicts(
    known: pa.Table, pictures: pa.ChunkedArray, rules: Sequence[RuleSetting], source: str, *, repairs: bool
) -> pa.Table:
    """The family's columns for rows of a part, given their captions, what else rules read, and how many pictures share each.

    Memory is given back between the steps: each frees pieces of other sizes than the next one needs.
    """
    repaired = repair(known["caption"]) if repairs else pa.nulls(len(known), pa.string())
    computed = columns_of(known["caption"], repaired)
    columns_by_name = [dict(zip(table.column_names, table.columns, strict=True)) for table in (known, computed)]
    table = pa.table(columns_by_name[0] | columns_by_name[1] | {PICTURES: pictures})
    return_freed_memory()
    keep, reasons = evaluate(table, rules, source)
    return_freed_memory()
    language, confidence = identify(table["caption"])
    about = {"caption_repaired": repaired, "language": language, "language_confidence": confidence, PICTURES: pictures}
    about |= {QUALITY: final_quality(table, reasons), QUALITY_PARTS: table[QUALITY_PARTS]}
    return pa.table({"sample_id": table["sample_id"], "keep": keep, "reasons": reasons, **about})
