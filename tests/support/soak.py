"""A hundred thousand URLs with the faults a download run meets (CC12M in 2025: 404 and 410 12 %, 403 8.3 %, dead DNS 6.2 %,
undecodable 3.7 %), and timeouts, slow drips and resets. `python -m tests.support.soak COUNT` fetches them and prints the counts
as JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image

from pipelines.fetching import policy
from pipelines.fetching.chunks import fetch_chunk
from pipelines.fetching.plan import Requests
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest.storage import Storage

HOSTS, PICTURES, CHUNK = 700, 64, 10_000

# kind → (share of the URLs, the error class it must end in)
KINDS = {
    "ok": (0.650, None),
    "404": (0.100, "http_404"),
    "410": (0.020, "http_410"),
    "403": (0.083, "http_403"),
    "dead": (0.062, "dns"),
    "html": (0.020, "not_an_image"),
    "truncated": (0.017, "truncated"),
    "silent": (0.020, "timeout"),
    "drip": (0.010, "timeout"),
    "reset": (0.018, "bad_response"),
}


def pictures() -> list[bytes]:
    images = []
    for number in range(PICTURES):
        data = io.BytesIO()
        Image.linear_gradient("L").rotate(number * 5).resize((96 + number, 80)).convert("RGB").save(data, "JPEG")
        images.append(data.getvalue())
    return images


async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bodies: list[bytes]) -> None:
    try:
        while line := await reader.readline():
            while (await reader.readline()).strip():
                pass
            _, kind, number = line.split(b" ")[1].decode().split("/") if line.count(b"/") > 2 else ("", "404", "0")
            body = bodies[int(number) % PICTURES]
            if kind == "silent":
                await asyncio.sleep(10)
                return
            if kind == "reset":
                writer.transport.abort()
                return
            if kind == "drip":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(40):
                    writer.write(b"\xff")
                    await asyncio.sleep(0.5)
                return
            if kind == "html":
                body = b"<!doctype html><p>gone"
            if kind == "truncated":
                body = body[: len(body) * 9 // 10]
            status = int(kind) if kind.isdigit() else 200
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
            await writer.drain()
    except (ConnectionError, asyncio.CancelledError):
        return
    finally:
        writer.close()


def serve() -> None:
    """Serves until its stdin closes; prints the port."""
    bodies = pictures()

    async def run() -> None:
        server = await asyncio.start_server(lambda r, w: respond(r, w, bodies), "127.0.0.1", 0, backlog=1024)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)

    asyncio.run(run())


def fetch(count: int, port: int) -> dict[str, object]:
    rng = random.Random(0)
    kinds = rng.choices([*KINDS], [share for share, _ in KINDS.values()], k=count)
    urls = [
        f"http://{i}.dead.test/x.jpg" if kind == "dead" else f"http://h{i % HOSTS}.soak.test/{kind}/{i}"
        for i, kind in enumerate(kinds)
    ]
    sums = [hashlib.sha256(body).hexdigest() for body in pictures()]
    settings = FetchSettings(
        connect_to={"soak.test": f"127.0.0.1:{port}"}, first_byte_timeout=3.0, total_timeout=6.0, concurrency=256, resize="keep"
    )
    look_up = policy.ThreadedResolver.resolve

    async def resolve(self: policy.ThreadedResolver, host: str, *rest: object) -> list:
        if host.endswith(".dead.test"):  # tests use no name server
            raise OSError("no such name")
        return await look_up(self, host, *rest)

    policy.ThreadedResolver.resolve = resolve  # type: ignore[method-assign]
    started, wrong, ended = time.monotonic(), Counter(), 0
    with tempfile.TemporaryDirectory() as root:
        storage = Storage(root)
        for first in range(0, count, CHUNK):
            chunk = urls[first : first + CHUNK]
            requests = Requests(chunk, [f"{first + i:016x}" for i in range(len(chunk))], [None] * len(chunk))
            rows = fetch_chunk(storage, requests, f"{first}.tar", settings, 600, lambda index: None).to_pylist()
            for index, row in enumerate(rows, start=first):
                ended += 1
                if row["error"] != KINDS[kinds[index]][1]:
                    wrong[f"{kinds[index]}: {row['error']}"] += 1
                elif row["error"] is None and row["sha256"] != sums[index % PICTURES]:
                    wrong["the image of another URL"] += 1
    # ru_maxrss would include the peak of the parent process.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) / 1024
    return {"urls": ended, "wrong": wrong, "seconds": round(time.monotonic() - started, 1), "peak_mib": round(peak)}


def main() -> None:
    if sys.argv[1] == "serve":
        serve()
        return
    command = [sys.executable, "-m", "tests.support.soak", "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            sys.stdout.write(json.dumps(fetch(int(sys.argv[1]), int(server.stdout.readline()))) + "\n")
        finally:
            server.stdin.close()


if __name__ == "__main__":
    main()
