"""Downloading: 5 000 JPEGs of 400 to 1 200 px, from a server in a process of its own on the same cores, resized to 256 px.

    vs_img2dataset            images/s of ours (the job fetch, Ray and its workers started) over img2dataset's, shorter side 256,
                              never enlarged
    originals_vs_img2dataset  the same with the original bytes stored; we still decode each once, scaled, to check and hash it
    cpu_vs_bare               CPU seconds per image of a fetch over those of decoding, resizing and encoding alone with Pillow,
                              decoding at the nearest scale as its thumbnails do
    cpu_vs_own_bare           the same over those with the libraries that fetch uses; without_pdq: of a fetch that leaves PDQ out

Images are as detailed as the web's: 1.6 bits a pixel is the median of its JPEGs of half a megapixel (HTTP Archive 2024, by the
wiki of webmproject/codec-compare). Both programs get them in two shards, one a core. In turns, three each; medians.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from PIL import Image

from infra.benchmarks.peers import peer
from pipelines.fetching.settings import FetchSettings

PICTURES, TURNS, SIZE, SHARDS = 5_000, 3, 256, 2
HOST = "bench.test"

IMG2DATASET = """
import json, sys, time
from pathlib import Path
from img2dataset import download
if __name__ == "__main__":
    started = time.perf_counter()
    download(**json.loads(sys.argv[1]))
    Path(sys.argv[2]).write_text(str(time.perf_counter() - started))
"""


def measure(rows: int) -> dict[str, Any]:
    """Measures on `rows` images (0: five thousand)."""
    count = rows or PICTURES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder / "pictures", count)
        command = [sys.executable, "-m", "infra.benchmarks.fetch", "serve", str(folder / "pictures")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None and server.stdin is not None
            port = int(server.stdout.readline())
            try:
                return _measure(folder, count, port)
            finally:
                server.stdin.close()


def _measure(folder: Path, count: int, port: int) -> dict[str, Any]:
    from pipelines.runtime.runner import start_ray

    start_ray()
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", "originals", "img2dataset", *ALONE)}
    for turn in range(TURNS):
        _ours(folder, min(count, 200), port, "shorter_side")  # starts the workers, which Ray ends after an idle minute
        seconds["ours"].append(_ours(folder, count, port, "shorter_side"))
        seconds["img2dataset"].append(_img2dataset(folder, count, port))
        seconds["originals"].append(_ours(folder, count, port, "keep"))
        for name in ALONE:
            seconds[name].append(_alone(name, folder / "pictures", port))
        sys.stderr.write(f"turn {turn + 1}: {json.dumps({name: round(values[-1], 2) for name, values in seconds.items()})}\n")

    def ratio(over: str, under: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[over], seconds[under], strict=True))

    rates = ("ours", "originals", "img2dataset")
    return {
        "pictures": count,
        "figures": {f"{name}_images_per_s": count / statistics.median(seconds[name]) for name in rates}
        | {f"{name}_ms_per_picture": 1000 * statistics.median(seconds[name]) / count for name in ALONE},
        "ratios": {
            "vs_img2dataset": ratio("img2dataset", "ours"),
            "originals_vs_img2dataset": ratio("img2dataset", "originals"),
            "cpu_vs_bare": ratio("cpu", "bare"),
            "cpu_vs_own_bare": ratio("cpu", "own_bare"),
            "cpu_without_pdq_vs_own_bare": ratio("cpu_without_pdq", "own_bare"),
        },
    }


def _alone(name: str, pictures: Path, port: int) -> float:
    """CPU seconds of one of the functions `ALONE`, in a process of its own."""
    ports = [str(port)] if name.startswith("cpu") else []
    command = [sys.executable, "-m", "infra.benchmarks.fetch", name, str(pictures), *ports]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # as Ray gives it to its workers
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def draw(folder: Path, count: int) -> None:
    """JPEGs with the detail of photographs: smooth shapes and noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    grounds = [Image.effect_noise((1200, 1200), 40 + 20 * kind).convert("RGB") for kind in range(4)]
    for number in range(count):
        width, height = (int(side) for side in rng.integers(400, 1201, 2))
        small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        image = small.resize((width, height), Image.Resampling.BICUBIC)
        image = Image.blend(image, grounds[number % 4].crop((0, 0, width, height)), 0.1)
        image.save(folder / f"{number:06d}.jpg", quality=82)


def _ours(folder: Path, count: int, port: int, resize: str) -> float:
    from pipelines import fetch, ingest

    root, table = folder / "root", folder / "urls.parquet"
    shutil.rmtree(root, ignore_errors=True)
    urls = [f"http://{HOST}/{number:06d}.jpg" for number in range(count)]
    sizes = pa.array([500] * count, pa.int32())
    pq.write_table(pa.table({"URL": urls, "TEXT": ["a picture"] * count, "WIDTH": sizes, "HEIGHT": sizes}), table)
    ingest.main(["--root", str(root), "--set", f"ingest.part_rows={-(-count // SHARDS)}", "laion2b-en", str(table)])
    settings = [f"fetch.size={SIZE}", f"fetch.resize={resize}", f'fetch.connect_to."{HOST}"="127.0.0.1:{port}"']
    os.sync()  # so that the system does not write earlier files during the measurement
    started = time.perf_counter()
    counts = fetch.main(["--root", str(root), *(word for setting in settings for word in ("--set", setting))])
    seconds = time.perf_counter() - started
    if counts.get("ok") != count:
        raise RuntimeError(f"fetch kept {counts}")
    return seconds


def _img2dataset(folder: Path, count: int, port: int) -> float:
    shutil.rmtree(folder / "img2dataset", ignore_errors=True)
    urls = folder / "img2dataset.parquet"
    pq.write_table(pa.table({"url": [f"http://127.0.0.1:{port}/{number:06d}.jpg" for number in range(count)]}), urls)
    options = {
        "url_list": str(urls),
        "input_format": "parquet",
        "url_col": "url",
        "output_folder": str(folder / "img2dataset"),
        "output_format": "webdataset",
        "image_size": SIZE,
        "resize_mode": "keep_ratio",
        "resize_only_if_bigger": True,
        "encode_quality": 92,
        "processes_count": 2,
        "thread_count": 32,
        "number_sample_per_shard": -(-count // SHARDS),
        "compute_hash": "sha256",
        "enable_wandb": False,
    }
    script, seconds = folder / "img2dataset_run.py", folder / "img2dataset.seconds"
    script.write_text(IMG2DATASET)
    os.sync()
    command = [str(peer("img2dataset")), str(script), json.dumps(options), str(seconds)]
    subprocess.run(command, check=True, capture_output=True, timeout=1200)
    kept = sum(json.loads(path.read_text())["successes"] for path in (folder / "img2dataset").glob("*_stats.json"))
    if kept != count:
        raise RuntimeError(f"img2dataset kept {kept} of {count}")
    return float(seconds.read_text())


def cpu(pictures: Path, port: int, *, pdq: bool = True) -> float:
    """CPU seconds of fetching all images in this process."""
    from pipelines.fetching.chunks import fetch_chunk
    from pipelines.fetching.plan import Requests
    from pipelines.manifest.storage import Storage

    pa.array([""])  # loads pandas, which a worker of Ray has loaded before its first part
    names = sorted(path.name for path in pictures.iterdir())
    settings = FetchSettings(size=SIZE, pdq=pdq, connect_to={HOST: f"127.0.0.1:{port}"})
    with tempfile.TemporaryDirectory() as root:
        requests = Requests([f"http://{HOST}/{name}" for name in names], [name[:-4] for name in names], [None] * len(names))
        started = time.process_time()
        fetch_chunk(Storage(root), requests, "x.tar", settings, 1000.0, lambda index: None)
        return time.process_time() - started


def bare(pictures: Path) -> float:
    """CPU seconds of decoding, resizing and encoding all images, from memory, with Pillow's fastest way."""

    def one(body: bytes) -> None:
        image = Image.open(io.BytesIO(body))
        scale = min(1.0, SIZE / min(image.size))
        size = round(image.width * scale), round(image.height * scale)
        image.draft("RGB", size)
        image.resize(size, Image.Resampling.BICUBIC).save(io.BytesIO(), "JPEG", quality=92)

    return _cpu_seconds(pictures, one)


def own_bare(pictures: Path) -> float:
    """The same with the libraries that fetch uses."""
    from sharding.resize import resized

    def one(body: bytes) -> None:
        tall, wide, _, _ = simplejpeg.decode_jpeg_header(body)
        scale = min(1.0, SIZE / min(wide, tall))
        step = next((step for step in (8, 4, 2) if step * scale <= 1), 1)
        pixels = simplejpeg.decode_jpeg(body, "RGB", fastupsample=True, min_height=-(-tall // step), min_width=-(-wide // step))
        small = resized(pixels, (round(wide * scale), round(tall * scale)), cubic=True)
        simplejpeg.encode_jpeg(small, 92, colorsubsampling="420")

    return _cpu_seconds(pictures, one)


def _cpu_seconds(pictures: Path, one: Callable[[bytes], None]) -> float:
    bodies = [path.read_bytes() for path in sorted(pictures.iterdir())]
    started = time.process_time()
    for body in bodies:
        one(body)
    return time.process_time() - started


# Measured in a process of their own.
ALONE: dict[str, Callable[..., float]] = {
    "cpu": cpu,
    "cpu_without_pdq": partial(cpu, pdq=False),
    "bare": bare,
    "own_bare": own_bare,
}


class _Server(asyncio.Protocol):
    """The least of HTTP that both clients need: GET, keep-alive, images from memory."""

    def __init__(self, bodies: dict[bytes, bytes]) -> None:
        self.bodies, self.buffer = bodies, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            body = self.bodies.get(head.split(b" ", 2)[1])
            if body is None:
                self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            else:
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body))
                self.transport.write(body)
            if b"\r\nconnection: close" in head.lower():
                self.transport.close()


def serve(pictures: Path) -> None:
    """Serves the images on loopback until stdin closes; prints the port."""
    bodies = {f"/{path.name}".encode(): path.read_bytes() for path in pictures.iterdir()}

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Server(bodies), "127.0.0.1", 0, backlog=1024)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)

    asyncio.run(run())


if __name__ == "__main__":
    what, pictures, *rest = sys.argv[1:]
    if what == "serve":
        serve(Path(pictures))
    else:
        sys.stdout.write(str(ALONE[what](Path(pictures), *map(int, rest))))
