"""A folder as an object store: `python -m infra.benchmarks.tools.delayed_folder FOLDER DELAY` prints its port.

It answers what s3fs requests when it reads (HEAD and GET of an object, ranges of it), each DELAY seconds late, and ends with its
standard input. It shares the cores with the reader that is measured, whereas a real store has its own: so it does as little as it
can, and the kernel sends the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from email.utils import formatdate
from pathlib import Path
from urllib.parse import unquote, urlsplit

MISSING = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>The object is not there.</Message></Error>"
RANGE = re.compile(r"\r\nrange: *bytes=(\d+)-(\d*)\r\n", re.IGNORECASE)


async def serve(folder: Path, delay: float) -> None:
    """Serves until standard input ends."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                await asyncio.sleep(delay)
                await _answer(folder, request, writer)
        writer.close()

    server = await asyncio.start_server(answers, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    server.close()


async def _answer(folder: Path, request: str, writer: asyncio.StreamWriter) -> None:
    """Writes the answer to a request without a body."""
    method, target = request.split(" ", 2)[:2]
    path = folder / unquote(urlsplit(target).path).lstrip("/")
    if not path.is_file():
        writer.write(_head("404 Not Found", len(MISSING), "Content-Type: application/xml") + MISSING * (method == "GET"))
        return
    with path.open("rb") as file:
        size, asked = os.fstat(file.fileno()).st_size, RANGE.search(request)
        start = int(asked[1]) if asked else 0
        end = min(size, int(asked[2]) + 1) if asked and asked[2] else size
        if asked and start >= end:
            writer.write(_head("416 Range Not Satisfiable", 0, f"Content-Range: bytes */{size}"))
            return
        about = f'Last-Modified: {formatdate(path.stat().st_mtime, usegmt=True)}\r\nETag: "{size}"\r\nAccept-Ranges: bytes'
        if asked:
            about += f"\r\nContent-Range: bytes {start}-{end - 1}/{size}"
        writer.write(_head("206 Partial Content" if asked else "200 OK", end - start, about))
        if method == "GET" and end > start:
            await asyncio.get_running_loop().sendfile(writer.transport, file, start, end - start)


def _head(status: str, length: int, about: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nx-amz-request-id: 0\r\nContent-Length: {length}\r\n{about}\r\n\r\n".encode()


def environment(port: int) -> dict[str, str]:
    """The environment variables that make fsspec's s3 use the store on a port."""
    client = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    return {"FSSPEC_S3": json.dumps({"key": "bench", "secret": "bench", "client_kwargs": client})}


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
