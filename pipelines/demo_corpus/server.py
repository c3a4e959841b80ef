"""Serves the demo's pictures on 127.0.0.1, and misbehaves under the path prefixes that name a defect.

`python -m pipelines.demo_corpus.server FOLDER` prints its port on the first line of stdout. When its stdin closes it goes on for
half a minute: workers that outlive a killed driver for a moment must not record every link as dead.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from PIL import Image

from pipelines.demo_corpus.render import encode, rng

TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SLOW_SECONDS = 60.0
LINGER_SECONDS = 30.0
END = "end"  # written to stdin by a caller that needs the web no more
LOG = web.AppKey("log", dict[str, int])
FOLDER = web.AppKey("folder", Path)


async def picture(request: web.Request) -> web.StreamResponse:
    """The picture as it is."""
    path = (request.app[FOLDER] / request.match_info["path"]).resolve()
    if not path.is_relative_to(request.app[FOLDER]) or not path.is_file():
        raise web.HTTPNotFound
    return web.Response(body=path.read_bytes(), content_type=TYPES[path.suffix[1:]])


async def spoiled(request: web.Request) -> web.StreamResponse:
    """The picture spoiled as the path's first part says."""
    path = (request.app[FOLDER] / request.match_info["path"]).resolve()
    if not path.is_relative_to(request.app[FOLDER]) or not path.is_file():
        raise web.HTTPNotFound
    kind = TYPES[path.suffix[1:]]
    match request.match_info["defect"]:
        case "timeout":
            await asyncio.sleep(SLOW_SECONDS)
            raise web.HTTPGatewayTimeout
        case "redirect":
            raise web.HTTPFound(f"/{request.match_info['path']}")
        case "redirect_loop":
            raise web.HTTPFound(request.path)
        case "html":
            return web.Response(text="<!doctype html><title>Gone</title><p>This picture has moved.", content_type="text/html")
        case "truncated":
            data = await asyncio.to_thread(_jpeg, path, 1.0, 88)
            return web.Response(body=data[: len(data) * 6 // 10], content_type="image/jpeg")
        case "tiny":
            return web.Response(body=await asyncio.to_thread(_tiny, path), content_type=kind)
        case "exact_copy":
            return web.Response(body=path.read_bytes(), content_type=kind)
        case "near_copy" | "eval_copy":
            chance = rng("copy", request.path)
            scale, quality = chance.uniform(0.5, 0.9), chance.randint(55, 80)
            return web.Response(body=await asyncio.to_thread(_jpeg, path, scale, quality), content_type="image/jpeg")
    raise web.HTTPNotFound


def _jpeg(path: Path, scale: float, quality: int) -> bytes:
    with Image.open(path) as image:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return encode(image.convert("RGB").resize(size, Image.Resampling.BICUBIC), "jpg", quality)


def _tiny(path: Path) -> bytes:
    with Image.open(path) as image:
        return encode(image.convert("RGB").resize((24, 24)), path.suffix[1:])


async def log(request: web.Request) -> web.StreamResponse:
    """How often each address was requested, as JSON."""
    return web.json_response(request.app[LOG])


@web.middleware
async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts requests by host and path."""
    requests = request.app[LOG]
    key = f"{request.host.partition(':')[0]}{request.path}"
    requests[key] = requests.get(key, 0) + 1
    return await handler(request)


def application(folder: Path) -> web.Application:
    """The demo's web."""
    app = web.Application(middlewares=[count])
    app[LOG], app[FOLDER] = {}, folder.resolve()
    app.router.add_get("/log.json", log)
    app.router.add_get(r"/{defect}/{id:[0-9a-f]{10}}/{path:.+}", spoiled)
    app.router.add_get("/{path:.+}", picture)
    return app


async def serve(folder: Path) -> None:
    """Serves until half a minute after stdin closes, or at once when `END` comes first."""
    runner = web.AppRunner(application(folder), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    last_line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    if last_line != END:
        await asyncio.sleep(LINGER_SECONDS)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
