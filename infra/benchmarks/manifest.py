"""The manifest at scale, on generated rows in the shape of LAION's joined tables (one million a file).

    stage1_vs_duckdb   rows/s of stage1, a whole job, over one DuckDB process that reads the same columns, tests the same
                       predicates and writes the same two columns
    ingest_vs_pyarrow  rows/s of ingest over a bare pyarrow read-and-rewrite of the same files, two processes as ours
    linearity          seconds per million rows of ingest and stage1, on all rows over on a tenth of them, in turns
    vs_data_juicer     rows/s of ingest and stage1 together over Data-Juicer's shape, aspect-ratio and text-length filters on
                       500 000 of the rows, two processes, the sizes given to it as computed
    query_vs_flat      seconds of a group-by on source and stage1 reasons through the view `manifest`, over the same on one
                       flat parquet that holds just those columns

and figures: seconds of both jobs on one row, their start; memory of the query over all families, of the driver on five times the
rows beside a million, of a worker at worst; seconds of a job over all those parts that finds nothing to do.
Everything is measured after Ray has started, in turns with its peer; the median of three turns counts.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from infra.benchmarks.peers import peer

ROWS, FILE_ROWS, PEER_ROWS, TURNS = 20_000_000, 1_000_000, 500_000, 3
SOURCE = "laion2b-en"

GENERATE = """
copy (
  with words as (select ['a','red','fox','in','the','snow','photo','of','vintage','wooden','table','lamp','with','two','chairs',
                         'summer','dress','floral','print','size','black','leather','shoes','view','from','mountain','lake','old',
                         'town','street','market','fresh','fruit','bowl','kitchen','design','modern','house','garden','flowers',
                         'portrait','woman','man','child','dog','cat','car','bike','sunset','beach'] as w),
       rows as (select i, hash(i + 1) as h, hash(i + 2) as k, hash(i + 3) as m from range({first}, {last}) t(i))
  select 'https://cdn' || (h % 5000) || '.example.com/images/' || substr(md5(i::varchar), 1, (8 + k % 24)::int)
           || '/' || i || '.jpg' as URL,
         array_to_string(list_transform(range(0, (3 + h % 16)::bigint), lambda j: w[(hash(i * 31 + j) % 50 + 1)::int]), ' ')
           as TEXT,
         (64 + k % 1900)::int as WIDTH, (64 + m % 1900)::int as HEIGHT,
         0.2 + (h % 10000) / 40000.0 as similarity,
         i as hash,
         case when k % 50 = 0 then null else ((k % 1000) / 1000.0)::float end as pwatermark,
         case when m % 50 = 0 then null else ((m % 997) / 1994.0)::float end as punsafe,
         (3 + (h % 4000) / 1000.0)::float as aesthetic
  from rows, words
) to '{path}' (format parquet)
"""

# The same predicates as the recipe's defaults, on what `samples` holds, as one SELECT.
DUCKDB = """
copy (
  select sample_id, len(reasons) = 0 as keep, reasons from (
    select sample_id, list_filter([{reasons}], lambda reason: reason is not null) as reasons from read_parquet('{samples}'))
) to '{target}' (format parquet, compression zstd)
"""

JUICER = """
import sys, time
from pathlib import Path
from data_juicer.config import init_configs
from data_juicer.core import DefaultExecutor
if __name__ == "__main__":
    config = init_configs(["--config", sys.argv[1]])
    started = time.perf_counter()
    DefaultExecutor(config).run()
    Path("seconds").write_text(str(time.perf_counter() - started))  # standard output is theirs
"""


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
    """The generated files and the manifests made of them."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows, self.speed = folder, rows, 0.0
        (folder / "in").mkdir()
        self.files = [folder / "in" / f"part-{number:05d}.parquet" for number in range(-(-rows // FILE_ROWS))]
        for number, path in enumerate(self.files):
            first, last = number * FILE_ROWS, min((number + 1) * FILE_ROWS, rows)
            generate(path, first, last)
            _say(f"generated {last:,} rows")

    def jobs(self) -> tuple[dict[str, float], dict[str, float]]:
        """Ingest beside pyarrow, stage1 beside DuckDB, both beside themselves on a tenth of the files."""
        ingests, rewrites, stages, ducks, tenths = [], [], [], [], []
        some = self.files[: max(1, len(self.files) // 10)]
        for turn in range(TURNS):
            ingests.append(_timed(lambda: self._ingest(self.folder / "root", self.files)))
            rewrites.append(_timed(lambda: rewrite(self.files, self.folder / "rewritten")))
            shutil.rmtree(self.folder / "rewritten")
            stages.append(_timed(lambda: self._stage1(self.folder / "root")))
            ducks.append(self._duckdb(self.folder / "root"))
            tenths.append(self._both(some))
            took = (
                f"ingest {ingests[-1]:.1f} s, pyarrow {rewrites[-1]:.1f} s, stage1 {stages[-1]:.1f} s, DuckDB {ducks[-1]:.1f} s"
            )
            _say(f"turn {turn + 1}: {took}; a tenth {tenths[-1]:.2f} s")
            if turn < TURNS - 1:
                shutil.rmtree(self.folder / "root")
        ingest, stage1 = statistics.median(ingests), statistics.median(stages)
        self.speed = self.rows / (ingest + stage1)
        figures = {
            "ingest_rows_per_s": self.rows / ingest,
            "stage1_rows_per_s": self.rows / stage1,
            "pyarrow_rows_per_s": self.rows / statistics.median(rewrites),
            "duckdb_rows_per_s": self.rows / statistics.median(ducks),
            "seconds_of_all": ingest + stage1,
            "seconds_of_a_tenth": statistics.median(tenths),
        }
        ratios = {
            "ingest_vs_pyarrow": statistics.median(b / a for a, b in zip(ingests, rewrites, strict=True)),
            "stage1_vs_duckdb": statistics.median(b / a for a, b in zip(stages, ducks, strict=True)),
            "linearity": statistics.median(
                (a + b) / self.rows / (tenth / min(self.rows, len(some) * FILE_ROWS))
                for a, b, tenth in zip(ingests, stages, tenths, strict=True)
            ),
        }
        return figures, ratios

    def start(self) -> tuple[dict[str, float], dict[str, float]]:
        """Both jobs on a single row."""
        one = self.folder / "one.parquet"
        generate(one, 0, 1)
        return {"seconds_of_one_row": statistics.median(self._both([one]) for _ in range(TURNS))}, {}

    def _both(self, files: Sequence[Path]) -> float:
        """Seconds of ingest and stage1."""
        root = self.folder / "some"
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
        asked = subprocess.run(  # DuckDB may show its progress first
            [sys.executable, "-c", QUERY, str(root), every], check=True, stdout=subprocess.PIPE, text=True
        )
        return {"query_all_families_gib": float(asked.stdout.split()[-1]) / 1024}, {
            "query_vs_flat": statistics.median(a / b for a, b in zip(views, flats, strict=True))
        }

    def data_juicer(self) -> tuple[dict[str, float], dict[str, float]]:
        """The peer's filters on some of the rows, sizes in its own statistics, so that it opens no picture."""
        python, work = peer("data-juicer"), self.folder / "juicer"
        work.mkdir()
        count = min(PEER_ROWS, self.rows)
        stats = "{'image_width': [WIDTH], 'image_height': [HEIGHT], 'aspect_ratios': [WIDTH / HEIGHT]} as __dj__stats__"
        query = f"""copy (select URL as url, TEXT as text, []::varchar[] as images, {stats} from '{self.files[0]}' limit {count})
            to '{work / "in.parquet"}' (format parquet)"""
        duckdb.sql(query)
        settings = {
            "project_name": "bench",
            "dataset_path": str(work / "in.parquet"),
            "export_path": str(work / "out" / "out.parquet"),
            "np": 2,
            "text_keys": "text",
            "use_cache": False,
            "open_monitor": False,
            "process": [
                {"image_shape_filter": {"min_width": 200, "min_height": 200}},
                {"image_aspect_ratio_filter": {"min_ratio": 1 / 3, "max_ratio": 3.0}},
                {"text_length_filter": {"min_len": 5, "max_len": 1000}},
            ],
        }
        (work / "config.yaml").write_text(json.dumps(settings))
        (work / "run.py").write_text(JUICER)
        subprocess.run([str(python), "run.py", "config.yaml"], cwd=work, check=True, capture_output=True)
        seconds = float((work / "seconds").read_text())
        _say(f"Data-Juicer {seconds:.1f} s for {count:,} rows")
        return {"data_juicer_rows_per_s": count / seconds}, {"vs_data_juicer": self.speed / (count / seconds)}

    def memory(self) -> tuple[dict[str, float], dict[str, float]]:
        """Driver and workers on five times the rows, and a run that has nothing to do."""
        many = self.folder / "many"
        many.mkdir()
        links = [many / f"{copy}-{path.name}" for copy in range(5) for path in self.files]
        for link in links:
            link.hardlink_to(self.files[int(link.name.split("-")[-1].split(".")[0])])
        one, five = (_job_memory(self.folder / f"memory-{len(files)}", files) for files in (self.files[:1], links))
        figures = {
            "driver_mib_1_file": one["driver"],
            f"driver_mib_{len(links)}_files": five["driver"],
            "worker_mib": max(one["worker"], five["worker"]),
            f"seconds_nothing_to_do_{len(links)}_parts": five["again"],
        }
        return figures, {}

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
        samples, target = root / "manifest" / "samples" / SOURCE / "*.parquet", self.folder / "duckdb.parquet"
        query = DUCKDB.format(reasons=", ".join(REASONS), samples=samples, target=target)
        seconds = _timed(lambda: duckdb.connect().execute(query))
        ours = root / "manifest" / "stage1" / SOURCE / "*.parquet"
        kept = [duckdb.sql(f"select count(*), count(*) filter (keep) from '{path}'").fetchall() for path in (ours, target)]
        if kept[0] != kept[1]:
            raise RuntimeError(f"stage1 and DuckDB disagree: {kept}")
        target.unlink()
        return seconds


# The recipe's defaults on what `samples` holds, in the order of the rules. A NULL drops nothing, as there.
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


def generate(path: Path, first: int, last: int) -> None:
    """Writes the rows `first` … `last` - 1 in the shape of LAION's joined tables."""
    duckdb.sql(GENERATE.format(first=first, last=last, path=path))


def fill(root: Path) -> None:
    """Gives every sample a row in every family that is not made, of drawn values: what a finished corpus holds."""
    from pipelines.manifest.parts import read_parts
    from pipelines.manifest.storage import Storage
    from pipelines.manifest.tables import conform

    storage, chance = Storage(str(root)), np.random.default_rng(0)
    for number, part in enumerate(read_parts(storage, SOURCE)):
        ids = storage.read_parquet(part.path("samples"), ["sample_id"])["sample_id"]
        count = len(ids)
        hashes, scores = chance.integers(0, 1 << 63, count, np.uint64), chance.random(count, np.float32)
        sides, places = chance.integers(200, 1200, count, np.int32), np.arange(count)
        families: dict[str, dict[str, Any]] = {
            "fetch": {"status": pa.repeat("ok", count), "phash": hashes, "width": sides, "height": sides, "offset": places},
            "scores": {"clip_similarity": scores, "unsafe": scores, "aesthetic": scores},
            "tags": {"watermark": scores},
            "stage2": {
                "keep": scores > 0.1,
                "reasons": pa.array([[]] * count, pa.list_(pa.string())),
                "language_confidence": scores,
            },
            "dedup": {"duplicate_of": pa.array(hashes, mask=scores > 0.1), "distance": pa.array(sides, mask=scores > 0.1)},
            "captions": {
                "synthetic_caption": pc.binary_join_element_wise("a picture of", pa.array(hashes).cast(pa.string()), " ")
            },
            "shards": {"shard": pa.repeat(f"shard-{number:06d}", count), "position": places.astype(np.int32)},
        }
        for family, columns in families.items():
            storage.write_parquet(part.path(family), conform(pa.table({"sample_id": ids, **columns}), family))


def rewrite(files: Sequence[Path], out: Path) -> None:
    """Reads and writes the files with pyarrow, two at a time."""
    out.mkdir()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_rewrite, files, [out / path.name for path in files]))


def _rewrite(source: Path, target: Path) -> None:
    pa.set_cpu_count(1)
    pq.write_table(pq.read_table(source), target, compression="zstd")


# peak: MiB a process held at most, by its own status: getrusage's figure outlives fork and exec, so a child would report its
# parent's. watched: that of every Ray worker there was, by process id.
WATCH = """
import threading
from contextlib import contextmanager
from pathlib import Path

def peak(process):
    status = Path("/proc", process, "status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines.get("VmHWM", "0 kB").split()[0]) / 1024

@contextmanager
def watched():
    workers, done = {}, threading.Event()

    def watch():
        while not done.wait(0.5):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if b"ray::" in (process / "cmdline").read_bytes():
                        workers[process.name] = peak(process.name)
                except OSError:
                    pass

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield workers
    finally:
        done.set()
"""

QUERY = (
    WATCH
    + """
import sys
from pipelines.manifest import connect

connect(sys.argv[1]).sql(sys.argv[2]).fetchall()
print(peak("self"))
"""
)

JOB = (
    WATCH
    + """
import json, sys, time
from pipelines import ingest, stage1
from pipelines.runtime.runner import start_ray

root, source, *files = sys.argv[1:]
start_ray()
with watched() as workers:
    failed = ingest.main(["--root", root, source, *files])["failed"] or stage1.main(["--root", root])["failed"]
    driver = peak("self")
    started = time.perf_counter()
    stage1.main(["--root", root])
    again = time.perf_counter() - started
print(json.dumps({"driver": driver, "worker": max(workers.values()), "again": again, "failed": len(failed)}))
"""
)


def _job_memory(root: Path, files: Sequence[Path]) -> dict[str, float]:
    """Peak MiB of the driver and of the largest worker over ingest and stage1; seconds of a stage1 with nothing to do."""
    command = [sys.executable, "-c", JOB, str(root), SOURCE, *map(str, files)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if found["failed"]:
        raise RuntimeError(f"{found['failed']} parts failed")
    shutil.rmtree(root)
    return found


def _timed(work: Callable[[], object]) -> float:
    os.sync()  # what was written before is not written out in the time of this
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
