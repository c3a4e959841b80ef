"""Loading: 512-px JPEGs of photographs' entropy (60 kB), random crops of 224 px, a thread or process a core, one machine.

    vs_bare          samples/s of ours over those of a bare loop of the same scaled decode and crop, one process a core
    vs_bare_pillow   over those of one whose crop Pillow resizes
    vs_<peer>        over webdataset, Streaming, LitData and Energon as their documentation sets them up
    vs_<peer>_ours   over the first three, given our decoder
    cold_vs_warm     samples/s of files that are not in the page cache over those that are; and webdataset's of the same
    undecoded        samples/s without decoding over those of reading the same files from start to end
    remote_vs_local  samples/s from an object store with 30 ms added to each request over those from the folder
    fetched_vs_used  bytes fetched from the store over those of the samples

and figures: seconds to the first batch of a resume in the middle of epoch 3 of 10 000 shards; MiB of the process with 8 threads,
which `python -m infra.benchmarks.loader memory SHARDS SAMPLES` gives of any shards; µs of CPU that the store takes for a sample,
from the cores that the loader decodes on. Rates count from the first batch on, in turns, medians. Files are in the page cache,
but for the cold rates.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from infra.benchmarks.peers import loaders, peer
from infra.benchmarks.tools.delayed_folder import environment
from infra.benchmarks.tools.memory import cpu_seconds, peak_mib
from infra.benchmarks.tools.photographs import photograph
from infra.compat.children import HOME
from infra.compat.memory import keep_freed_memory
from sharding import Sample, SampleSequence, ShardReader, read_dataset, sample_json, summary_bytes, write_shard
from sharding.decode import decode_picture, decode_pixels
from sharding.index import SHUFFLED
from sharding.layout import SUMMARY, index_file, shard_name, tar_file
from sharding.order import RUN_LENGTH
from trainer_bridge.data.loader import READ_AT_ONCE, Loader
from trainer_bridge.data.settings import LoaderSettings
from trainer_bridge.data.transforms import random_box, random_resized_crop

SAMPLES, SHARDS, PICTURES, TURNS, DELAY = 8_000, 16, 64, 3, 0.03
PASSES = 25  # of what takes no time
CORES = os.cpu_count() or 1


def measure(rows: int) -> dict[str, Any]:
    """Measures on `rows` samples (0: eight thousand)."""
    count = rows or SAMPLES
    with tempfile.TemporaryDirectory(dir=os.environ.get("PAIRMILL_BENCH_DIR")) as name:
        folder = Path(name)
        write_shards(folder / "shards", count)
        _run([str(peer("loaders")), "-m", "infra.benchmarks.peers.loaders", "prepare", name])
        command = [sys.executable, "-m", "infra.benchmarks.tools.delayed_folder", name, str(DELAY)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HOME) as store:
            assert store.stdout is not None and store.stdin is not None
            port = int(store.stdout.readline())
            try:
                turns = [_turn(folder, count, port, str(store.pid)) for _ in range(TURNS)]
            finally:
                store.stdin.close()
        figures = _run_ours("first_batch", str(folder)) | _run_ours("memory", str(folder / "shards"), str(count))
    rates = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    figures |= {"store_us": rates.pop("store_us")}
    figures |= {f"{name}_per_s": rate for name, rate in rates.items() if name != "fetched_vs_used"}
    return {"samples": count, "figures": figures, "ratios": _ratios(turns)}


def _turn(folder: Path, count: int, port: int, store: str) -> dict[str, float]:
    """Samples/s of each, one after the other; `store` is the process that answers at the port."""
    shards, rows = str(folder / "shards"), str(count)
    rates = _run_ours("ours", shards, rows)
    for work in ("bare", "bare_pillow"):
        rates[work] = sum(_side_by_side(work, shards, str(count // CORES)))
    for name in loaders.PEERS:
        for decoder in ("theirs", "ours") if name != "energon" else ("theirs",):
            rates[name if decoder == "theirs" else f"{name}_ours"] = _peer(name, folder, rows, decoder)
    forget(folder)
    rates["cold"] = _run_ours("ours", shards, rows)["ours"]
    forget(folder)
    rates["webdataset_cold"] = _peer("webdataset", folder, rows, "theirs")
    rates |= _run_ours("sequential", shards, rows) | _run_ours("undecoded", shards, rows)
    before = cpu_seconds(store)
    remote = _run_ours("ours", "s3://shards", rows, **environment(port))
    rates |= {"remote": remote["ours"], "fetched_vs_used": remote["fetched_vs_used"]}
    rates["store_us"] = (cpu_seconds(store) - before) / count * 1e6
    sys.stderr.write(json.dumps({name: round(rate, 2) for name, rate in rates.items()}) + "\n")
    return rates


def _peer(name: str, folder: Path, rows: str, decoder: str) -> float:
    """Samples/s of a peer, given its decoder or ours."""
    command = [str(peer("loaders")), "-m", "infra.benchmarks.peers.loaders", name, str(folder), rows, str(CORES), decoder]
    return float(_run(command).splitlines()[-1])


def forget(folder: Path) -> None:
    """Takes the files below a folder out of the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _ratios(turns: Sequence[dict[str, float]]) -> dict[str, float]:
    def ratio(over: str, under: str) -> float:
        return statistics.median(turn[over] / turn[under] for turn in turns)

    beside = [name for name in turns[0] if name.removesuffix("_ours") in (*loaders.PEERS, "bare", "bare_pillow")]
    return {f"vs_{name}": ratio("ours", name) for name in beside} | {
        "cold_vs_warm": ratio("cold", "ours"),
        "webdataset_cold_vs_warm": ratio("webdataset_cold", "webdataset"),
        "undecoded": ratio("undecoded", "sequential"),
        "remote_vs_local": ratio("remote", "ours"),
        "fetched_vs_used": max(turn["fetched_vs_used"] for turn in turns),
    }


def write_shards(folder: Path, count: int, words: str = "") -> None:
    """Writes the dataset; its pictures come again and again, in different shards. Captions end with the `words`."""
    folder.mkdir()
    pictures = [photograph(seed) for seed in range(min(PICTURES, count))]
    samples = (Sample(n, pictures[n % len(pictures)], f"a picture, number {n}{words}", sample_json(n, {})) for n in range(count))
    size = -(-count // SHARDS)
    names = [shard_name("train", number) for number in range(-(-count // size))]
    shards = [write_shard(folder, name, [s for _, s in zip(range(size), samples, strict=False)]) for name in names]
    (folder / SUMMARY).write_bytes(summary_bytes({"train": shards}, {SHUFFLED: True}))


def crop(image: bytes, rng: np.random.Generator, out: np.ndarray | None = None) -> np.ndarray:
    """What the loader is given: decode at a scale, crop, resize."""
    return random_resized_crop(decode_pixels(image, loaders.SIZE), loaders.SIZE, loaders.LEAST_AREA, rng, out)


def pillow_crop(image: bytes, rng: np.random.Generator) -> np.ndarray:
    """The same with Pillow's resizer."""
    picture = decode_picture(image, loaders.SIZE)
    box = random_box(*picture.size, loaders.LEAST_AREA, rng)
    resized = picture.resize((loaders.SIZE, loaders.SIZE), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    return np.array(resized).transpose(2, 0, 1)


def ours(shards: str, rows: str) -> dict[str, float]:
    """Our loader; what it fetched over what it used."""
    loader = Loader(read_dataset(shards), "train", loaders.BATCH, crop, 0)
    rate = loaders.rate(((batch.pixels,) for batch in loader.batches(0, int(rows) // loaders.BATCH)), int(rows))
    traffic = loader.sequence.traffic
    return {"ours": rate, "fetched_vs_used": traffic.fetched / traffic.used}


def bare(shards: str, rows: str, decode: Callable[[bytes, np.random.Generator], np.ndarray] = crop) -> dict[str, float]:
    """Decode and crop of pictures in memory, one after the other."""
    reader, rng = ShardReader(read_dataset(shards), "train"), np.random.default_rng(0)
    pictures = [sample.image for sample in reader.read_all([(0, row) for row in range(min(64, reader.sizes()[0]))])]
    started = time.perf_counter()
    for number in range(int(rows)):
        decode(pictures[number % len(pictures)], rng)
    return {"bare": int(rows) / (time.perf_counter() - started)}


def bare_pillow(shards: str, rows: str) -> dict[str, float]:
    """The same with Pillow's resizer."""
    return {"bare_pillow": bare(shards, rows, pillow_crop)["bare"]}


def sequential(shards: str, rows: str) -> dict[str, float]:
    """The tars read from start to end, PASSES times."""
    started = time.perf_counter()
    for path in PASSES * sorted(Path(shards).glob("*.tar")):
        with path.open("rb", buffering=0) as tar:
            while tar.read(1 << 20):
                pass
    return {"sequential": PASSES * int(rows) / (time.perf_counter() - started)}


def undecoded(shards: str, rows: str) -> dict[str, float]:
    """Samples of PASSES epochs in the loader's order, by a thread a core, in reads of the loader's size; indexes are read."""
    keep_freed_memory()
    sequence = SampleSequence([(read_dataset(shards), 1.0)], "train", 0)
    sequence.read_many(np.arange(0, sequence.total, RUN_LENGTH))  # the indexes of all shards, which are tiny beside real ones
    gc.collect()  # the first full collection, of all that was imported, takes 0.1 s once; later ones are rare
    started = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        positions = np.arange(PASSES * int(rows))
        deque(
            pool.map(
                lambda first: len(sequence.read_columns(positions[first : first + READ_AT_ONCE])), positions[::READ_AT_ONCE]
            ),
            maxlen=0,
        )
    return {"undecoded": len(positions) / (time.perf_counter() - started)}


def memory(shards: str, rows: str) -> dict[str, float]:
    """Peak MiB of this process with eight threads."""
    loader = Loader(read_dataset(shards), "train", loaders.BATCH, crop, 0, settings=LoaderSettings(workers=8))
    for _ in loader.batches(0, int(rows) // loaders.BATCH):
        pass
    return {"mib_8_threads": peak_mib()}


def first_batch(folder: str) -> dict[str, float]:
    """Seconds from opening 10 000 shards to the first batch in the middle of epoch 3."""
    source, many = Path(folder, "shards"), Path(folder, "many")
    shard = read_dataset(str(source)).shards("train")[0]
    names = [shard_name("train", number) for number in range(10_000)]
    many.mkdir()
    for name in names:
        for file_of in (tar_file, index_file):
            (many / file_of(name)).hardlink_to(source / file_of(shard.name))
    (many / SUMMARY).write_bytes(summary_bytes({"train": [replace(shard, name=name) for name in names]}, {}))
    started = time.perf_counter()
    loader = Loader(read_dataset(str(many)), "train", loaders.BATCH, crop, 0)
    loader.load(int(2.5 * loader.sequence.total) // loaders.BATCH)
    return {"first_batch_s": time.perf_counter() - started}


WORKS: dict[str, Callable[..., dict[str, float]]] = {
    work.__name__: work for work in (ours, bare, bare_pillow, sequential, undecoded, memory, first_batch)
}


def _command(work: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "infra.benchmarks.loader", work, *arguments]


def _run_ours(work: str, *arguments: str, **variables: str) -> dict[str, float]:
    figures: dict[str, float] = json.loads(_run(_command(work, *arguments), **variables).splitlines()[-1])
    return figures


def _side_by_side(work: str, *arguments: str) -> list[float]:
    """The figure of a work in one process a core, all at once."""
    pipes = [subprocess.Popen(_command(work, *arguments), stdout=subprocess.PIPE, text=True, cwd=HOME) for _ in range(CORES)]
    return [json.loads(pipe.communicate()[0])[work] for pipe in pipes]


def _run(command: Sequence[str], **variables: str) -> str:
    """The standard output of a command; RuntimeError with its last words when it fails."""
    ended = subprocess.run(command, capture_output=True, text=True, cwd=HOME, env=os.environ | variables, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {ended.stderr[-2000:]}")
    return ended.stdout


if __name__ == "__main__":
    sys.stdout.write(json.dumps(WORKS[sys.argv[1]](*sys.argv[2:])) + "\n")
