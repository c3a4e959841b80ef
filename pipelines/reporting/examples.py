"""Images with the verdict on their samples, as thumbnails that are part of the page."""

from __future__ import annotations

from typing import Any

import duckdb

from pipelines.images.thumbnails import thumbnail
from pipelines.manifest.storage import Storage
from pipelines.reporting.query import rows_of

SIDE = 128  # pixels of a thumbnail
EXAMPLES, BILINGUAL_EXAMPLES = 18, 5


def examples(connection: duckdb.DuckDBPyConnection, storage: Storage) -> dict[str, list[dict[str, Any]]]:
    """Kept and dropped samples whose image was downloaded, and images described in two languages.

    Drawn by a hash of the id, so that the same manifest shows the same ones. Reads the temporary table `m`.
    """
    kept = _draw(connection, "m.shard is not null", "hash(m.sample_id)")
    # One of each reason before a second of any.
    reason = "coalesce(stage1_reasons[1], stage2_reasons[1], m.eval_match, case when m.duplicate_of is not null then 'copy' end)"
    order = f"row_number() over (partition by {reason} order by hash(m.sample_id)), {reason}"
    dropped = _draw(connection, "m.shard is null", order)
    return {
        "kept": [_example(storage, row) for row in kept],
        "dropped": [_example(storage, row) for row in dropped],
        "bilingual": bilingual(connection, storage),
    }


def bilingual(connection: duckdb.DuckDBPyConnection, storage: Storage) -> list[dict[str, Any]]:
    """Exported images described for more than one prompt: for each prompt the alt text of a sample and the synthetic caption."""
    rows = rows_of(
        connection,
        f"""
        with described as (
          select f.sha256, c.prompt, arg_min(m.caption, sample_id) as alt,
                 arg_min(c.synthetic_caption, sample_id) as synthetic, arg_min((f.tar, f."offset", f.length), sample_id) as place
          from captions c join "fetch" f using (sample_id) join m using (sample_id)
          where c.synthetic_caption is not null and m.shard is not null group by 1, 2)
        select any_value(place) as place, list((prompt, alt, synthetic) order by prompt) as captions
        from described group by sha256 having count(*) > 1 order by hash(sha256) limit {BILINGUAL_EXAMPLES}
        """,
    )
    return [
        {
            "image": _thumbnail(storage, *row["place"].values()),
            "captions": [dict(zip(("prompt", "alt", "synthetic"), caption.values(), strict=True)) for caption in row["captions"]],
        }
        for row in rows
    ]


def _draw(connection: duckdb.DuckDBPyConnection, where: str, order: str) -> list[dict[str, Any]]:
    query = f"""
        select m.sample_id, m.source, m.language, m.caption, m.stage1_reasons, m.stage2_reasons, m.eval_match, m.duplicate_of,
               f.tar, f."offset", f.length
        from m join "fetch" f using (sample_id) where f.status = 'ok' and {where} order by {order}, m.sample_id limit {EXAMPLES}
    """
    return rows_of(connection, query)


def _example(storage: Storage, row: dict[str, Any]) -> dict[str, Any]:
    reasons = [*(row["stage1_reasons"] or []), *(row["stage2_reasons"] or [])]
    if row["eval_match"]:
        reasons.append(f"of evaluation set {row['eval_match']}")
    if row["duplicate_of"]:
        reasons.append(f"copy of {row['duplicate_of']}")
    shown = {name: row[name] for name in ("sample_id", "source", "language", "caption")}
    return {**shown, "reasons": reasons, "image": _thumbnail(storage, row["tar"], row["offset"], row["length"])}


def _thumbnail(storage: Storage, tar: str, offset: int, length: int) -> str:
    """A small JPEG as a data URL; "" where the stored picture is gone or cannot be decoded."""
    try:
        return thumbnail(storage.read_range(tar, offset, length), SIDE)
    except OSError:
        return ""
