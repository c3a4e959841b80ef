"""A folder as an object store: `python -m infra.benchmarks.tools.delayed_folder FOLDER DELAY` prints its port.

It answers what s3fs requests when it reads (HEAD and GET of an object, ranges of it), each DELAY seconds late, and ends with its
standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from aiohttp import web

MISSING = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>The object is not there.</Message></Error>"


async def serve(folder: Path, delay: float) -> None:
    """Serves until standard input ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(delay)
        path = folder / request.match_info["path"]
        if not path.is_file():
            return web.Response(status=404, body=MISSING, content_type="application/xml")
        return web.FileResponse(path, headers={"x-amz-request-id": "0"})

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)  # HEAD too
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def environment(port: int) -> dict[str, str]:
    """The environment variables that make fsspec's s3 use the store on a port."""
    client = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    return {"FSSPEC_S3": json.dumps({"key": "bench", "secret": "bench", "client_kwargs": client})}


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
