"""The numbers of the report, by SQL: plain values that report.json holds and the page shows.

A new number is a function here and its line in `all_numbers`; a new plot is that, and its place in `page.html.j2`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import duckdb

from filters.reference import TABLE_2, TOTAL, Retention
from filters.rules import RuleSetting
from filters.stage2 import QUALITY
from pipelines.manifest import selection
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import read_receipts
from pipelines.manifest.storage import Storage
from pipelines.reporting.histograms import rule_histograms
from pipelines.reporting.query import rows_of
from pipelines.sources import sources

# What the queries below, `truth` and `examples` read of the view `manifest`.
COLUMNS = (
    *("sample_id", "source", "language", "caption", "clip_similarity", "shard", "stage1_reasons", "stage2_reasons", QUALITY),
    *selection.columns_of(("stage1", *selection.FILTERED)),
)


def all_numbers(
    connection: duckdb.DuckDBPyConnection, storage: Storage, parts: Sequence[Part], rules: Sequence[RuleSetting]
) -> dict[str, Any]:
    """Everything the report shows of a manifest, ready for JSON. Makes the temporary table `m`: the manifest, joined once."""
    read = dict.fromkeys([*COLUMNS, *(column for setting in rules for column in setting.rule.columns)])
    connection.execute(f"create temp table m as select {', '.join(read)} from manifest")
    return {
        "funnel": funnel(connection),
        "retention": retention(connection),
        "stage1_reasons": reasons(connection, "stage1"),
        "stage2_reasons": reasons(connection, "stage2"),
        "histograms": [
            histogram | {"paper": paper_thresholds(connection) if _is_of_quality(histogram) else []}
            for histogram in rule_histograms(connection, "m", rules)
        ],
        "fetch": fetch_outcomes(connection),
        "hosts": failing_hosts(connection),
        "languages": languages(connection),
        "synthetic": synthetic(connection),
        "cost": cost(storage, parts),
    }


def funnel(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """How many samples are left after each filter; each is counted where it left first."""
    steps = {
        "factors": ("factors",),
        "fetched": ("factors", "downloaded"),
        "no_eval": (*selection.WITH_PICTURE, "unseen"),
        "no_copy": selection.DISTINCT,
        "stage2": selection.FILTERED,
    }
    counts = ", ".join(f"count(*) filter ({selection.sql_of(conditions)}) as {name}" for name, conditions in steps.items())
    row = rows_of(
        connection,
        f"select count(*) as samples, (select count(*) from rejects) as rejected, {counts}, count(shard) as exported from m",
    )[0]
    names = {
        "read": "rows read",
        "samples": "sound rows",
        "factors": "pass the six factors",
        "fetched": "picture fetched",
        "no_eval": "not of an evaluation set",
        "no_copy": "no copy of another",
        "stage2": "caption passes stage 2",
        "exported": "in shards",
    }
    row["read"] = row["samples"] + row["rejected"]
    return [{"step": name, "samples": row[key]} for key, name in names.items()]


def retention(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """InternVL's Table 2 for this manifest, the paper's shares beside ours; the last row is the total."""
    stages = {"stage1": selection.AFTER_STAGE1, "stage2": selection.AFTER_STAGE2}
    # A stage that has judged nothing of a source yet has no share.
    kept = ", ".join(
        f"case when count({stage}_keep) > 0 then count(*) filter ({selection.sql_of(conditions)}) end as {stage}"
        for stage, conditions in stages.items()
    )
    counted = rows_of(
        connection,
        f"""
        with totals as (select source, count(*) as original from (select source from samples union all select source from rejects)
                        group by 1)
        select t.source, any_value(t.original) as original, {kept}
        from totals t left join m using (source) group by 1 order by 1
        """,
    )
    titles = {name: source.title for name, source in sources().items()}
    named = [(titles.get(row["source"], row["source"]), row) for row in counted]  # a plugin's source may not be known here
    rows = [_retention_row(title, TABLE_2.get(title), row) for title, row in named]
    rows.sort(key=lambda row: list(TABLE_2).index(row["source"]) if row["source"] in TABLE_2 else len(TABLE_2))
    total = {name: _sum(row[name] for row in rows) for name in ("original", "stage1", "stage2")}
    return [*rows, _retention_row("total", TOTAL, total)]


def _is_of_quality(histogram: dict[str, Any]) -> bool:
    return any(rule["name"].startswith(f"{QUALITY}.") for rule in histogram["rules"])


def paper_thresholds(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Of each source that the paper's second filter cuts: the quality that leaves the paper's share of what stage 1 keeps."""
    titles = {name: source.title for name, source in sources().items()}
    shares = {name: TABLE_2[title].stage2_of_stage1 for name, title in titles.items() if title in TABLE_2}
    return [
        {"source": titles[source], "share": share, **row}
        for source, share in shares.items()
        if share is not None
        for row in rows_of(
            connection,
            f"select quantile_disc(quality, {1 - share}) as value from m where source = '{source}' and quality is not null "
            f"and {selection.sql_of(selection.AFTER_STAGE1)}",
        )
        if row["value"] is not None
    ]


def _sum(counts: Iterable[int | None]) -> int | None:
    """The sum; None where a count is not known."""
    known = list(counts)
    return None if None in known else sum(filter(None, known))


def _retention_row(title: str, paper: Retention | None, row: dict[str, Any]) -> dict[str, Any]:
    language, size, stage1, stage2 = paper or ("", "", None, None)
    return {
        "source": title,
        "language": language,
        "original": row["original"],
        "stage1": row["stage1"],
        "stage1_share": _share(row["stage1"], row["original"]),
        "stage2": row["stage2"],
        "stage2_share": _share(row["stage2"], row["original"]),
        "paper_original": size,
        "paper_stage1_share": stage1,
        "paper_stage2_share": stage2,
    }


def _share(part: int | None, whole: int | None) -> float | None:
    return part / whole if whole and part is not None else None


def reasons(connection: duckdb.DuckDBPyConnection, stage: str) -> list[dict[str, Any]]:
    """For each rule how many samples it dropped, and how many it alone dropped."""
    column = {"stage1": "stage1_reasons", "stage2": "stage2_reasons"}[stage]
    return rows_of(
        connection,
        f"""
        select reason, count(*) as dropped, count(*) filter (alone) as alone
        from (select unnest({column}) as reason, len({column}) = 1 as alone from m where len({column}) > 0)
        group by 1 order by 2 desc, 1
        """,
    )


def fetch_outcomes(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Samples and distinct URLs by the outcome of their download."""
    return rows_of(
        connection,
        """
        select status, error, count(*) as samples, count(distinct url) as urls
        from "fetch" join samples using (sample_id) group by all order by samples desc, error
        """,
    )


def failing_hosts(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The twelve hosts with most failed URLs, and their commonest error."""
    return rows_of(
        connection,
        """
        select regexp_extract(url, '^[a-z]+://([^/:]+)', 1) as host, count(distinct url) as urls, mode(error) as error
        from "fetch" join samples using (sample_id) where status != 'ok' group by 1 order by 2 desc, 1 limit 12
        """,
    )


def languages(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Samples read and exported by language."""
    return rows_of(
        connection,
        """
        select coalesce(language, 'unknown') as language, count(*) as samples, count(shard) as exported
        from m group by 1 order by 2 desc, 1
        """,
    )


def synthetic(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """How many samples have a synthetic caption, and which model wrote most of them."""
    return rows_of(connection, "select count(synthetic_caption) as captioned, mode(model) as model from captions")[0]


def cost(storage: Storage, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Seconds of work per family by its receipts, and core-hours for a billion rows at that rate."""
    families = sorted({path.split("/")[1] for path in storage.glob("receipts/*/*/*.json")})
    costs = []
    for family in families:
        receipts = read_receipts(storage, family, parts)
        rows, seconds = sum(part.rows for part in receipts), sum(receipt.seconds for receipt in receipts.values())
        if rows:
            costs.append(
                {
                    "family": family,
                    "rows": rows,
                    "seconds": round(seconds, 1),
                    "hours_per_billion": round(seconds / rows * 1e9 / 3600, 1),
                }
            )
    return costs
