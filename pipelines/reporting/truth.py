"""What became of samples whose truth is known: a file of sample_id, defect and `of`, the sample that a copy was made from."""

from __future__ import annotations

from typing import Any

import duckdb

from infra.compat.errors import RequestError
from pipelines.reporting.query import rows_of

BINS = 40


def planted(connection: duckdb.DuckDBPyConnection, truth: str) -> list[dict[str, Any]]:
    """For each defect how many samples have it (`planted`) and how many of them the filters dealt with (`caught`).

    Caught means not in the shards; of a copy and its original, that at most one is. A redirect that works is no defect: caught
    means followed, so that the picture came. The last row counts all other samples: `caught` are good ones lost. Makes the
    temporary table `truth`.
    """
    try:
        connection.execute("create or replace temp table truth as select sample_id, defect, of from read_parquet(?)", [truth])
    except duckdb.Error as error:
        cause = " ".join(str(error).split("LINE ")[0].split())
        raise RequestError(
            f"--truth {truth} is no Parquet file of sample_id, defect and of ({cause}); name such a file"
        ) from None
    rows = rows_of(
        connection,
        """
        with kept as (select sample_id from m where shard is not null),
        fate as (
          select defect, case
            when defect = 'broken_row' then t.sample_id in (select sample_id from rejects)
            when defect = 'redirect' then t.sample_id in (select sample_id from m where fetch_status = 'ok')
            when defect like '%copy' and t.of is not null
              then t.sample_id not in (select sample_id from kept) or t.of not in (select sample_id from kept)
            else t.sample_id not in (select sample_id from kept) end as is_right
          from truth t)
        select defect, count(*) as planted, count(*) filter (is_right) as caught from fate group by 1 order by 1
        """,
    )
    good = rows_of(
        connection,
        """
        select 'untouched good pairs lost' as defect, count(*) as planted, count(*) filter (shard is null) as caught
        from m anti join truth using (sample_id)
        """,
    )
    return rows + good


def separation(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Histograms over 0 … 1 of the CLIP similarity of right pairs and of pairs with a swapped caption, and their means.

    Reads the temporary table `truth` that `planted` makes.
    """
    counted = rows_of(
        connection,
        f"""
        with known as (
          select case when defect is null then 'right' else 'swapped' end as kind, clip_similarity as value
          from m left join truth using (sample_id) where clip_similarity is not null and coalesce(defect, 'swapped') = 'swapped')
        select kind, least({BINS - 1}, greatest(0, floor(value * {BINS})))::int as bin, count(*) as n, sum(value) as total
        from known group by 1, 2
        """,
    )
    kinds = []
    for kind in ("right", "swapped"):
        rows = {row["bin"]: row for row in counted if row["kind"] == kind}
        pairs = sum(row["n"] for row in rows.values())
        mean = sum(row["total"] for row in rows.values()) / pairs if pairs else None
        bins = [rows[bin]["n"] if bin in rows else 0 for bin in range(BINS)]
        kinds.append({"kind": kind, "pairs": pairs, "mean": mean, "bins": bins})
    return {"low": 0.0, "high": 1.0, "kinds": kinds}
