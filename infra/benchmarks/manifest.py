"""The manifest at scale, on generated rows in the shape of LAION's joined tables (one million a file).

    stage1_vs_duckdb   rows/s of stage1, a whole job, over one DuckDB process that reads the same columns, tests the same
                       predicates and writes the same two columns
    ingest_vs_pyarrow  rows/s of ingest over a bare pyarrow read-and-rewrite of the same files, two processes as ours
    linearity          seconds per million rows of ingest and stage1, on all rows over on a tenth of them, in turns
    vs_data_juicer     rows/s of ingest and stage1 together over Data-Juicer's shape, aspect-ratio and text-length filters on
                       500 000 of the rows, two processes, the sizes given to it as computed
    query_vs_flat      seconds of a group-by on source and stage1 reasons through the view `manifest`, over the same on one
                       flat parquet that holds just those columns

and figures: seconds of both jobs on one row (their start); memory of a query over all families, of the driver on one file and on
five times the rows, of the largest worker; seconds of a job with nothing to do. Everything is measured after Ray has started, in
turns with its peer; medians of three turns.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from infra.benchmarks.peers import data_juicer
from infra.benchmarks.tools.alone import run_alone
from infra.benchmarks.tools.rows import FILE_ROWS, SOURCE, fill, generate

ROWS, PEER_ROWS, TURNS = 20_000_000, 500_000, 3

# The predicates of the recipe's defaults, on the columns of `samples`, as one SELECT.
DUCKDB = """
copy (
  select sample_id, len(reasons) = 0 as keep, reasons from (
    select sample_id, list_filter([{reasons}], lambda reason: reason is not null) as reasons from read_parquet('{samples}'))
) to '{target}' (format parquet, compression zstd)
"""

# In the order of the rules. A NULL drops nothing, as in the rules.
REASONS = [
    "case when clip_similarity < 0.26 then 'clip_similarity' end",
    "case when watermark > 0.8 then 'watermark' end",
    "case when unsafe > 0.5 then 'unsafe' end",
    "case when aesthetic < 3.0 then 'aesthetic' end",
    "case when least(width, height) < 64 then 'resolution.shorter_side' end",
    "case when greatest(width, height)::double / least(width, height) > 5 then 'resolution.aspect_ratio' end",
    "case when caption_chars < 2 then 'caption_length.short' end",
    "case when caption_chars > 1000 then 'caption_length.long' end",
]


def measure(rows: int) -> dict[str, Any]:
    """Measures all of it on `rows` rows (0: twenty million)."""
    rows = rows or ROWS
    with tempfile.TemporaryDirectory(dir=os.environ.get("PAIRMILL_BENCH_DIR")) as folder:
        bench = Bench(Path(folder), rows)
        from pipelines.runtime.runner import start_ray

        start_ray()
        figures, ratios = bench.jobs()
        for part in (bench.start, bench.queries, bench.data_juicer, bench.memory):
            more_figures, more_ratios = part()
            figures, ratios = figures | more_figures, ratios | more_ratios
    return {"rows": rows, "figures": figures, "ratios": ratios}


class Bench:
    """The generated files, and the manifests that jobs make from them."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows, self.speed = folder, rows, 0.0
        (folder / "in").mkdir()
        self.files = [folder / "in" / f"part-{number:05d}.parquet" for number in range(-(-rows // FILE_ROWS))]
        self.tenth = self.files[: max(1, len(self.files) // 10)]
        for number, path in enumerate(self.files):
            first, last = number * FILE_ROWS, min((number + 1) * FILE_ROWS, rows)
            generate(path, first, last)
            _say(f"generated {last:,} rows")

    def jobs(self) -> tuple[dict[str, float], dict[str, float]]:
        """Ingest beside pyarrow, stage1 beside DuckDB, both beside themselves on a tenth of the files."""
        turns = [self._turn(keep_root=turn == TURNS - 1) for turn in range(TURNS)]
        ingest, stage1, pyarrow, duck, tenth = (
            statistics.median(turn[name] for turn in turns) for name in ("ingest", "stage1", "pyarrow", "duckdb", "tenth")
        )
        self.speed = self.rows / (ingest + stage1)
        figures = {
            "ingest_rows_per_s": self.rows / ingest,
            "stage1_rows_per_s": self.rows / stage1,
            "pyarrow_rows_per_s": self.rows / pyarrow,
            "duckdb_rows_per_s": self.rows / duck,
            "seconds_of_all": ingest + stage1,
            "seconds_of_a_tenth": tenth,
        }
        share = min(self.rows, len(self.tenth) * FILE_ROWS) / self.rows
        ratios = {
            "ingest_vs_pyarrow": statistics.median(turn["pyarrow"] / turn["ingest"] for turn in turns),
            "stage1_vs_duckdb": statistics.median(turn["duckdb"] / turn["stage1"] for turn in turns),
            "linearity": statistics.median((turn["ingest"] + turn["stage1"]) * share / turn["tenth"] for turn in turns),
        }
        return figures, ratios

    def _turn(self, *, keep_root: bool) -> dict[str, float]:
        """Seconds of each job and each peer, one after the other."""
        root, rewritten = self.folder / "root", self.folder / "rewritten"
        seconds = {"ingest": _timed(lambda: self._ingest(root, self.files))}
        seconds["pyarrow"] = _timed(lambda: rewrite(self.files, rewritten))
        shutil.rmtree(rewritten)
        seconds["stage1"] = _timed(lambda: self._stage1(root))
        seconds["duckdb"] = self._duckdb(root)
        seconds["tenth"] = self._both(self.tenth)
        _say(", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()))
        if not keep_root:
            shutil.rmtree(root)
        return seconds

    def start(self) -> tuple[dict[str, float], dict[str, float]]:
        """Both jobs on one row."""
        one = self.folder / "one.parquet"
        generate(one, 0, 1)
        return {"seconds_of_one_row": statistics.median(self._both([one]) for _ in range(TURNS))}, {}

    def _both(self, files: Sequence[Path]) -> float:
        """Seconds of ingest and stage1."""
        root = self.folder / "both"
        seconds = _timed(lambda: self._ingest(root, files)) + _timed(lambda: self._stage1(root))
        shutil.rmtree(root)
        return seconds

    def queries(self) -> tuple[dict[str, float], dict[str, float]]:
        """The group-by through the view and on a flat file, and a query that needs every family."""
        root = self.folder / "root"
        flat = self.folder / "flat.parquet"
        from pipelines.manifest import connect

        connect(str(root)).sql(
            f"copy (select source, stage1_reasons from manifest) to '{flat}' (format parquet, compression zstd)"
        )
        group = "select source, stage1_reasons, count(*) from {} group by all order by all"
        views, flats = [], []
        for _ in range(TURNS):
            views.append(_timed(lambda: connect(str(root)).sql(group.format("manifest")).fetchall()))
            flats.append(_timed(lambda: duckdb.connect().sql(group.format(f"'{flat}'")).fetchall()))
        fill(root)
        every = "select count(*), count(shard), sum(length(synthetic_caption)), sum(eval_distance), sum(length(stage2_reasons)), "
        every += "sum(phash::double), max(clip_similarity), max(unsafe), max(width), max(length(caption)) from manifest"
        peak = run_alone("query", str(root), every)["peak"]
        return {"query_all_families_gib": peak / 1024}, {
            "query_vs_flat": statistics.median(a / b for a, b in zip(views, flats, strict=True))
        }

    def data_juicer(self) -> tuple[dict[str, float], dict[str, float]]:
        """The peer's filters on 500 000 rows; the sizes are given in its statistics, so that it opens no image."""
        work = self.folder / "juicer"
        work.mkdir()
        count = min(PEER_ROWS, self.rows)
        stats = "{'image_width': [WIDTH], 'image_height': [HEIGHT], 'aspect_ratios': [WIDTH / HEIGHT]} as __dj__stats__"
        query = f"""copy (select URL as url, TEXT as text, []::varchar[] as images, {stats} from '{self.files[0]}' limit {count})
            to '{work / "in.parquet"}' (format parquet)"""
        duckdb.sql(query)
        seconds = data_juicer.seconds_of(
            work,
            [
                {"image_shape_filter": {"min_width": 200, "min_height": 200}},
                {"image_aspect_ratio_filter": {"min_ratio": 1 / 3, "max_ratio": 3.0}},
                {"text_length_filter": {"min_len": 5, "max_len": 1000}},
            ],
        )
        _say(f"Data-Juicer {seconds:.1f} s for {count:,} rows")
        return {"data_juicer_rows_per_s": count / seconds}, {"vs_data_juicer": self.speed / (count / seconds)}

    def memory(self) -> tuple[dict[str, float], dict[str, float]]:
        """Memory of driver and workers on five times the rows, and seconds of a run with nothing to do."""
        many = self.folder / "many"
        many.mkdir()
        links = [many / f"{copy}-{path.name}" for copy in range(5) for path in self.files]
        for link in links:
            link.hardlink_to(self.files[int(link.name.split("-")[-1].split(".")[0])])
        one, five = (self._job_memory(self.folder / f"memory-{len(files)}", files) for files in (self.files[:1], links))
        figures = {
            "driver_mib_1_file": one["driver"],
            f"driver_mib_{len(links)}_files": five["driver"],
            "worker_mib": max(one["worker"], five["worker"]),
            f"seconds_nothing_to_do_{len(links)}_parts": five["again"],
        }
        return figures, {}

    def _job_memory(self, root: Path, files: Sequence[Path]) -> dict[str, float]:
        figures = run_alone("jobs", str(root), SOURCE, *map(str, files))
        shutil.rmtree(root)
        return figures

    def _ingest(self, root: Path, files: Sequence[Path]) -> None:
        from pipelines import ingest

        counts = ingest.main(["--root", str(root), SOURCE, *map(str, files)])
        if counts["failed"]:
            raise RuntimeError(f"ingest failed: {counts['failed']}")

    def _stage1(self, root: Path) -> None:
        from pipelines import stage1

        counts = stage1.main(["--root", str(root)])
        if counts["failed"]:
            raise RuntimeError(f"stage1 failed: {counts['failed']}")

    def _duckdb(self, root: Path) -> float:
        samples, ours = (root / "manifest" / family / f"source={SOURCE}" / "*.parquet" for family in ("samples", "stage1"))
        target = self.folder / "duckdb.parquet"
        query = DUCKDB.format(reasons=", ".join(REASONS), samples=samples, target=target)
        seconds = _timed(lambda: duckdb.connect().execute(query))
        counts = [duckdb.sql(f"select count(*), count(*) filter (keep) from '{path}'").fetchall() for path in (ours, target)]
        if counts[0] != counts[1]:
            raise RuntimeError(f"stage1 and DuckDB disagree: {counts}")
        target.unlink()
        return seconds


def rewrite(files: Sequence[Path], out: Path) -> None:
    """Reads and writes the files with pyarrow, two at a time."""
    out.mkdir()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_rewrite, files, [out / path.name for path in files]))


def _rewrite(source: Path, target: Path) -> None:
    pa.set_cpu_count(1)
    pq.write_table(pq.read_table(source), target, compression="zstd")


def _timed(work: Callable[[], object]) -> float:
    os.sync()  # so that the system does not write earlier files during the measurement
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
