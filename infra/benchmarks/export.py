"""Exporting 20 000 samples with 512-px JPEGs of the detail of photographs, shards of 5 000.

    vs_webdataset  samples/s of ours (the job export, Ray and its workers started: plan, global shuffle, checksums, index, places
                   in the manifest) over webdataset's reader, shuffle buffer of 1 000 and ShardWriter on the same tars, a process
                   a core
    growth         seconds per sample with 16 × the parts and 16 × the shards over the small export; small pictures; rows are
                   sorted in 1 and in 16 buckets
    with_30_ms     samples/s from and to an S3 server with 30 ms added to each request over without, through the same proxy; a
                   fifth of the samples

In turns, three each; medians.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from PIL import Image

from infra.benchmarks.peers import peer
from infra.benchmarks.tools.object_store import bucket, environment, free_port, proxy, server
from infra.benchmarks.tools.pictured import fill_pictured
from pipelines.manifest.storage import Storage
from pipelines.runtime import external_sort

SAMPLES, TURNS, SIZE, MANIFEST_PARTS, PER_SHARD = 20_000, 3, 512, 4, 5_000
SCALE, DRAWN, DELAY = 16, 200, 0.03

WEBDATASET = """
import sys, webdataset
from multiprocessing import Process

def work(tars, out, size):
    samples = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).shuffle(1000)
    with webdataset.ShardWriter(out, maxcount=size, verbose=0) as sink:
        for sample in samples:
            sink.write({name: sample[name] for name in ("__key__", "jpg", "txt", "json")})

if __name__ == "__main__":
    out, size, processes, *tars = sys.argv[1:]
    count = int(processes)
    running = [Process(target=work, args=(tars[n::count], f"{out}/{n}-%06d.tar", int(size))) for n in range(count)]
    [process.start() for process in running]
    [process.join() for process in running]
    sys.exit(any(process.exitcode for process in running))
"""


def measure(rows: int) -> dict[str, Any]:
    """Measures on `rows` samples (0: twenty thousand)."""
    rows, port = rows or SAMPLES, free_port()
    os.environ |= environment(port)  # before Ray's workers start
    fsspec.config.set_conf_env(fsspec.config.conf)
    from pipelines.runtime.runner import start_ray

    start_ray()
    with tempfile.TemporaryDirectory(dir=os.environ.get("PAIRMILL_BENCH_DIR")) as name:
        folder = Path(name)
        pictures = draw(DRAWN, SIZE)
        results = [
            _beside_webdataset(folder, rows, pictures),
            _growth(folder, rows),
            _with_delay(folder, rows // 5, pictures, port),
        ]
    return {
        "samples": rows,
        "figures": {name: value for figures, _ in results for name, value in figures.items()},
        "ratios": {name: value for _, ratios in results for name, value in ratios.items()},
    }


def draw(count: int, size: int) -> list[bytes]:
    """JPEGs of size × size with the detail of photographs: smooth shapes and noise."""
    rng, pictures = np.random.default_rng(0), []
    ground = Image.effect_noise((size, size), 60).convert("RGB")
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        data = io.BytesIO()
        Image.blend(small.resize((size, size), Image.Resampling.BICUBIC), ground, 0.1).save(data, "JPEG", quality=85)
        pictures.append(data.getvalue())
    return pictures


def _beside_webdataset(folder: Path, rows: int, pictures: Sequence[bytes]) -> tuple[dict[str, float], dict[str, float]]:
    root = folder / "root"
    fill_pictured(Storage(str(root)), MANIFEST_PARTS, rows // MANIFEST_PARTS, pictures)
    ours, theirs = [], []
    for turn in range(TURNS):
        ours.append(_export(str(root), str(folder / "ours"), PER_SHARD))
        shutil.rmtree(folder / "ours")
        theirs.append(_webdataset(sorted(root.glob("images/*/*/*.tar")), folder / "webdataset"))
        _say(turn, ours=ours[-1], webdataset=theirs[-1])
    shutil.rmtree(root)
    figures = {"samples_per_s": rows / statistics.median(ours), "webdataset_samples_per_s": rows / statistics.median(theirs)}
    figures["picture_bytes"] = statistics.mean(map(len, pictures))
    return figures, {"vs_webdataset": statistics.median(b / a for a, b in zip(ours, theirs, strict=True))}


def _growth(folder: Path, rows: int) -> tuple[dict[str, float], dict[str, float]]:
    small = draw(DRAWN, 64)
    external_sort.BUCKET_ROWS = rows  # of the small export
    roots = {scale: folder / f"growth-{scale}" for scale in (1, SCALE)}
    for scale, root in roots.items():
        fill_pictured(Storage(str(root)), MANIFEST_PARTS * scale, rows // MANIFEST_PARTS, small)
    seconds: dict[int, list[float]] = {scale: [] for scale in roots}
    for turn in range(TURNS):
        for scale, root in roots.items():
            seconds[scale].append(_export(str(root), str(folder / "ours"), rows // MANIFEST_PARTS) / (rows * scale))
            shutil.rmtree(folder / "ours")
        _say(turn, **{f"us_a_sample_{scale}": 1e6 * values[-1] for scale, values in seconds.items()})
    for root in roots.values():
        shutil.rmtree(root)
    figures = {f"us_per_small_sample_{MANIFEST_PARTS * scale}_parts": 1e6 * statistics.median(seconds[scale]) for scale in roots}
    return figures, {"growth": statistics.median(b / a for a, b in zip(*seconds.values(), strict=True))}


def _with_delay(folder: Path, rows: int, pictures: Sequence[bytes], port: int) -> tuple[dict[str, float], dict[str, float]]:
    delay = 0.0

    def outcome() -> str:
        time.sleep(delay)
        return "ok"

    (folder / "s3").mkdir()
    with server(folder / "s3") as behind, proxy(behind, outcome, port):
        bucket(behind).mkdir("bench")
        fill_pictured(Storage("s3://bench/root"), MANIFEST_PARTS, rows // MANIFEST_PARTS, pictures)
        seconds: dict[float, list[float]] = {0.0: [], DELAY: []}
        for turn in range(TURNS):
            for added, values in seconds.items():
                delay = added
                values.append(_export("s3://bench/root", f"s3://bench/out-{turn}-{added}", rows // MANIFEST_PARTS))
            _say(turn, s3=seconds[0.0][-1], with_30_ms=seconds[DELAY][-1])
            delay = 0.0
    rates = {name: rows / statistics.median(seconds[added]) for name, added in (("s3", 0.0), ("s3_with_30_ms", DELAY))}
    ratio = statistics.median(a / b for a, b in zip(*seconds.values(), strict=True))
    return {f"{name}_samples_per_s": rate for name, rate in rates.items()}, {"with_30_ms": ratio}


def _export(root: str, out: str, per_shard: int) -> float:
    """Seconds of an export of all samples into a new folder, under a name of its own, so that nothing of it is there."""
    from pipelines import export

    options = [
        "--stage",
        "1",
        "--name",
        f"turn{uuid.uuid4().hex}",
        "--out",
        out,
        "--set",
        f"export.samples_per_shard={per_shard}",
    ]
    os.sync()  # so that the system does not write earlier files during the measurement
    started = time.perf_counter()
    counts = export.main(["--root", root, *options])
    seconds = time.perf_counter() - started
    if counts["failed"]:
        raise RuntimeError(f"export failed: {counts}")
    return seconds


def _webdataset(tars: Sequence[Path], out: Path) -> float:
    out.mkdir()
    command = [str(peer("readers")), "-c", WEBDATASET, str(out), str(PER_SHARD), str(os.cpu_count()), *map(str, tars)]
    os.sync()
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=sys.stderr)
    seconds = time.perf_counter() - started
    shutil.rmtree(out)
    return seconds


def _say(turn: int, **values: float) -> None:
    sys.stderr.write(f"turn {turn + 1}: {json.dumps({name: round(value, 2) for name, value in values.items()})}\n")
