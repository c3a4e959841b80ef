"""What the report says, as plain values asked of the manifest by SQL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from filters.reference import TABLE_2, TOTAL, Retention
from filters.rules import RuleSetting
from pipelines.manifest import selection
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import read_receipts
from pipelines.manifest.storage import Storage
from pipelines.sources import sources

BINS = 40
STAGES = ("contrastive", "generative", "chat")

Factor = tuple[str, str, tuple[str, ...], tuple[float, float]]

# (column or expression, title, the stage-1 rule that cuts it, the range shown)
FACTORS: tuple[Factor, ...] = (
    ("clip_similarity", "CLIP similarity", ("clip_similarity",), (0.0, 1.0)),
    ("watermark", "Watermark probability", ("watermark",), (0.0, 1.0)),
    ("unsafe", "Unsafe probability", ("unsafe",), (0.0, 1.0)),
    ("aesthetic", "Aesthetic score", ("aesthetic",), (0.0, 10.0)),
    ("least(width, height)", "Resolution: shorter side, pixels", ("resolution.shorter_side",), (0.0, 1024.0)),
    ("length(caption)", "Caption length, characters", ("caption_length.short", "caption_length.long"), (0.0, 200.0)),
)


def all_numbers(
    connection: duckdb.DuckDBPyConnection, storage: Storage, parts: Sequence[Part], rules: Sequence[RuleSetting]
) -> dict[str, Any]:
    """Everything the report shows of a manifest, ready for JSON."""
    # The view is asked many times; its join is done once.
    connection.execute("create temp table m as select * exclude (url) from manifest")
    return {
        "funnel": funnel(connection),
        "retention": retention(connection),
        "stage1_reasons": reasons(connection, "stage1"),
        "stage2_reasons": reasons(connection, "stage2"),
        "factors": [factor(connection, one, rules) for one in FACTORS],
        "fetch": fetch_errors(connection),
        "hosts": failing_hosts(connection),
        "languages": languages(connection),
        "synthetic": synthetic(connection),
        "cost": cost(storage, parts),
    }


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = connection.sql(query).to_arrow_table().to_pylist()
    return rows


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
    row = _rows(
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
    stages = {"stage1": ("stage1", "unseen"), "stage2": ("stage1", "unseen", "original", "stage2")}
    # A stage that has judged nothing of a source yet has no share.
    kept = ", ".join(
        f"case when count({stage}_keep) > 0 then count(*) filter ({selection.sql_of(conditions)}) end as {stage}"
        for stage, conditions in stages.items()
    )
    counted = _rows(
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
    return _rows(
        connection,
        f"""
        select reason, count(*) as dropped, count(*) filter (alone) as alone
        from (select unnest({column}) as reason, len({column}) = 1 as alone from m where len({column}) > 0)
        group by 1 order by 2 desc, 1
        """,
    )


def factor(connection: duckdb.DuckDBPyConnection, asked: Factor, rules: Sequence[RuleSetting]) -> dict[str, Any]:
    """A histogram of one factor over all samples; what lies outside the range shown is in the end bins."""
    column, title, names, (low, high) = asked
    place = f"floor(({column} - {low}) / {high - low} * {BINS})"
    counted = _rows(
        connection,
        f"""
        select case when {column} is not null  -- least and greatest pass over NULL
               then least({BINS - 1}, greatest(0, {place}))::int end as bin, count(*) as n
        from m group by 1
        """,
    )
    counts = {row["bin"]: row["n"] for row in counted}
    cuts = [value for setting in rules if setting.rule.name in names and setting.enabled for value in setting.thresholds.values()]
    return {
        "title": title,
        "low": low,
        "high": high,
        "bins": [counts.get(bin, 0) for bin in range(BINS)],
        "unknown": counts.get(None, 0),
        "thresholds": cuts,
    }


def fetch_errors(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Samples and distinct URLs by fetch outcome."""
    return _rows(
        connection,
        """
        select status, error, count(*) as samples, count(distinct url) as urls
        from "fetch" join samples using (sample_id) group by all order by samples desc, error
        """,
    )


def failing_hosts(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The hosts with most failed URLs, with their commonest error."""
    return _rows(
        connection,
        """
        select regexp_extract(url, '^[a-z]+://([^/:]+)', 1) as host, count(distinct url) as urls, mode(error) as error
        from "fetch" join samples using (sample_id) where status != 'ok' group by 1 order by 2 desc, 1 limit 12
        """,
    )


def languages(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Samples read and exported by language."""
    return _rows(
        connection,
        """
        select coalesce(language, 'unknown') as language, count(*) as samples, count(shard) as exported
        from m group by 1 order by 2 desc, 1
        """,
    )


def synthetic(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """How many samples have a synthetic caption, and which model wrote most of them."""
    return _rows(connection, "select count(synthetic_caption) as captioned, mode(model) as model from captions")[0]


def cost(storage: Storage, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Seconds of work per family as its receipts say, and core-hours for a billion rows at that rate."""
    made = sorted({path.split("/")[1] for path in storage.glob("receipts/*/*/*.json")})
    found = []
    for family in made:
        receipts = read_receipts(storage, family, parts)
        rows, seconds = sum(part.rows for part in receipts), sum(receipt.seconds for receipt in receipts.values())
        if rows:
            found.append(
                {
                    "family": family,
                    "rows": rows,
                    "seconds": round(seconds, 1),
                    "hours_per_billion": round(seconds / rows * 1e9 / 3600, 1),
                }
            )
    return found


def planted(connection: duckdb.DuckDBPyConnection, truth: str) -> list[dict[str, Any]]:
    """What became of planted defects (a file of sample_id, defect, of): how many there were and how many did not get into shards.

    Of a copy and what it copies at most one may be exported. A redirect that works is no defect: it should be kept. The last row
    counts all other samples: `caught` are good ones lost.
    """
    connection.execute("create or replace temp table truth as select * from read_parquet(?)", [truth])
    rows = _rows(
        connection,
        """
        with kept as (select sample_id from m where shard is not null),
        fate as (
          select defect, case
            when defect = 'broken_row' then t.sample_id in (select sample_id from rejects)
            when defect = 'redirect' then t.sample_id in (select sample_id from kept)
            when defect like '%copy' and t.of is not null
              then t.sample_id not in (select sample_id from kept) or t.of not in (select sample_id from kept)
            else t.sample_id not in (select sample_id from kept) end as is_right
          from truth t)
        select defect, count(*) as planted, count(*) filter (is_right) as caught from fate group by 1 order by 1
        """,
    )
    good = _rows(
        connection,
        """
        select 'untouched good pairs lost' as defect, count(*) as planted, count(*) filter (shard is null) as caught
        from m anti join truth using (sample_id)
        """,
    )
    return rows + good


def separation(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Similarity of right and swapped pairs (the temp table `truth` says which): two histograms over 0 … 1, and their means."""
    counted = _rows(
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


def training(folder: Path) -> list[dict[str, Any]]:
    """Loss by step and the summary of the training run in the folder, or of those below it in the order of the stages."""
    runs = []
    for run in (folder, *(folder / stage for stage in STAGES)):
        if (run / "summary.json").exists():
            steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            summary = json.loads((run / "summary.json").read_text())
            runs.append({"stage": run.name, "summary": summary, "loss": [[row["step"], row["loss"]] for row in steps]})
    return runs
