"""A hostile web on loopback: each path misbehaves in its own way. Every response ends by itself within a minute."""

from __future__ import annotations

import asyncio
import io
import socketserver
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import unquote

from aiohttp import web
from PIL import Image

from tests.support.serving import serving


def picture(width: int = 64, height: int = 48, format: str = "JPEG") -> bytes:
    """A valid image with some texture."""
    data = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(data, format)
    return data.getvalue()


def scans_over_and_over(side: int, times: int) -> bytes:
    """A progressive JPEG whose last scan, of a few bytes, is repeated `times` more."""
    data = io.BytesIO()
    Image.new("L", (side, side)).save(data, "JPEG", progressive=True)
    body = data.getvalue()[:-2]
    return body + body[body.rindex(b"\xff\xda") :] * times + b"\xff\xd9"


def png_of_claimed_size(width: int, height: int) -> bytes:
    """A PNG header that claims a size, with no pixels behind it."""
    chunk = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IHDR" + chunk
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(chunk)) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\1\0IDAT"


async def drip(request: web.Request) -> web.StreamResponse:
    """One byte a second, for a minute."""
    response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
    await response.prepare(request)
    for _ in range(60):
        await response.write(b"\xff")
        await asyncio.sleep(1)
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    """Far more bytes than any image, without a length."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(2000):
        await response.write(b"\0" * 65536)
    return response


async def silent(request: web.Request) -> web.StreamResponse:
    """Nothing, for a minute."""
    await asyncio.sleep(60)
    return web.Response()


async def short_body(request: web.Request) -> web.StreamResponse:
    """Promises more bytes than come."""
    response = web.StreamResponse(headers={"Content-Length": "100000"})
    await response.prepare(request)
    await response.write(picture())
    assert request.transport is not None
    request.transport.close()
    return response


def redirect(to: str) -> object:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": to})

    return respond


def fixed(body: bytes, status: int = 200, **headers: str) -> object:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return respond


async def heals(request: web.Request) -> web.StreamResponse:
    """503 at the first request, an image at the second."""
    if request.app[REQUEST_COUNTS][request.path] == 1:
        return web.Response(status=503)
    return web.Response(body=picture(), content_type="image/jpeg")


async def paused(request: web.Request) -> web.StreamResponse:
    """429 with a Retry-After of a second at the first request, an image at the second."""
    if request.app[REQUEST_COUNTS][request.path] == 1:
        return web.Response(status=429, headers={"Retry-After": "1"})
    return web.Response(body=picture(), content_type="image/jpeg")


def only_as(target: str) -> object:
    """An image for the request target written like this, 400 for any other writing of it."""

    async def respond(request: web.Request) -> web.StreamResponse:
        return web.Response(body=picture(), status=200 if request.raw_path == target else 400)

    return respond


async def no_length(request: web.Request) -> web.StreamResponse:
    """A valid image in pieces, without a length."""
    response = web.StreamResponse()
    await response.prepare(request)
    body = picture()
    for start in range(0, len(body), 100):
        await response.write(body[start : start + 100])
    return response


ROBOTS = b"User-agent: *\nDisallow: /\n\nUser-agent: pairmill\nDisallow: /robots/*.jpg$\nAllow: /\n"

# path → (handler, the error class it must end in; None: a valid image)
BEHAVIOURS: dict[str, tuple[object, str | None]] = {
    "/ok.jpg": (fixed(picture()), None),
    "/ok.png": (fixed(picture(format="PNG"), Content_Type="text/plain"), None),
    "/ok.webp": (fixed(picture(format="WEBP")), None),
    "/ok.gif": (fixed(picture(format="GIF")), None),
    "/moved": (redirect("/ok.jpg"), None),
    "/heals": (heals, None),
    "/paused": (paused, None),
    "/no-length": (no_length, None),
    "/polyglot": (fixed(picture() + b"<script>alert(1)</script>", Content_Type="text/html"), None),
    "/ä b": (only_as("/%C3%A4%20b"), None),
    "/%20c": (only_as("/%20c"), None),
    "/to-raw": (redirect("/ä b#there"), None),
    "/to-backslash": (redirect("\\ok.jpg"), None),
    "/pdf": (fixed(b"%PDF-1.4\n" + picture()), "not_an_image"),
    "/heic": (fixed(b"\0\0\0\x18ftypheic" + b"\0" * 64), "unsupported_image"),
    "/robots/no.jpg": (fixed(picture()), "robots"),
    "/robots/no.jpg?yes": (fixed(picture()), None),
    "/to-robots": (redirect("/robots/no.jpg"), "robots"),
    "/404": (fixed(b"gone", 404), "http_404"),
    "/410": (fixed(b"gone", 410), "http_410"),
    "/403": (fixed(b"no", 403), "http_403"),
    "/401": (fixed(b"no", 401), "http_401"),
    "/418": (fixed(b"no", 418), "http_4xx"),
    "/429": (fixed(b"slow down", 429), "http_429"),
    "/500": (fixed(b"oops", 500), "http_5xx"),
    "/204": (fixed(b"", 204), "http_other"),
    "/empty": (fixed(b""), "empty"),
    "/html": (fixed(b"<!doctype html><p>hello", Content_Type="image/jpeg"), "not_an_image"),
    "/svg": (fixed(b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>"), "not_an_image"),
    "/zeros": (fixed(b"\0" * 5000), "not_an_image"),
    "/truncated.jpg": (fixed(picture(400, 300)[:2000]), "truncated"),
    "/truncated.png": (fixed(picture(400, 300, "PNG")[:800]), "truncated"),
    "/pixels": (fixed(png_of_claimed_size(60000, 60000)), "too_many_pixels"),
    "/scans": (fixed(scans_over_and_over(800, 20_000)), "too_many_scans"),
    "/large": (fixed(b"\0" * 3_000_000), "too_large"),
    "/endless": (endless, "too_large"),
    "/bomb": (fixed(zlib.compress(b"\0" * 200_000_000, 9), Content_Encoding="deflate"), "too_large"),
    "/short": (short_body, "bad_response"),
    "/silent": (silent, "timeout"),
    "/drip": (drip, "timeout"),
    "/loop": (redirect("/loop"), "redirect_limit"),
    "/nowhere": (fixed(b"", 302), "bad_response"),
    "/to-loopback": (redirect("http://127.0.0.1:80/x.jpg"), "refused_address"),
    "/to-loopback6": (redirect("http://[::1]/x.jpg"), "refused_address"),
    "/to-mapped": (redirect("http://[::ffff:127.0.0.1]/x.jpg"), "refused_address"),
    "/to-compatible": (redirect("http://[::8.8.8.8]/x.jpg"), "refused_address"),
    "/to-6to4": (redirect("http://[2002:808:808::1]/x.jpg"), "refused_address"),
    "/to-site-local": (redirect("http://[fec0::1]/x.jpg"), "refused_address"),
    "/to-local-nat64": (redirect("http://[64:ff9b:1::808:808]/x.jpg"), "refused_address"),
    "/to-documentation": (redirect("http://[3fff::1]/x.jpg"), "refused_address"),
    "/to-wide-digits": (redirect("http://１２７.0.0.1/x.jpg"), "refused_address"),
    "/to-metadata": (redirect("http://169.254.169.254/latest/meta-data"), "refused_address"),
    "/to-hex": (redirect("http://0x7f000001/x.jpg"), "refused_address"),
    "/to-decimal": (redirect("http://2130706433/x.jpg"), "bad_url"),
    "/to-name": (redirect("http://localhost/x.jpg"), "refused_address"),
    "/to-file": (redirect("file:///etc/passwd"), "bad_url"),
    "/to-ftp": (redirect("ftp://example.test/x.jpg"), "bad_url"),
    "/to-port": (redirect("http://example.test:22/x.jpg"), "refused_port"),
    "/to-user": (redirect("http://a:b@hostile.test/ok.jpg"), "bad_url"),
    "/noai": (fixed(picture(), X_Robots_Tag="noai"), "opt_out"),
    "/noindex": (fixed(picture(), X_Robots_Tag="noarchive, NoImageIndex"), "opt_out"),
    "/noai-us": (fixed(picture(), X_Robots_Tag="pairmill: noml"), "opt_out"),
    "/noai-other": (fixed(picture(), X_Robots_Tag="otherbot: noai"), None),
    "/tdm": (fixed(picture(), tdm_reservation="1"), "opt_out"),
}

REQUEST_COUNTS = web.AppKey("request_counts", Counter[str])


@web.middleware
async def count(request: web.Request, handler: object) -> web.StreamResponse:
    request.app[REQUEST_COUNTS][request.path] += 1
    return await handler(request)  # type: ignore[operator]


async def _end(runner: web.AppRunner) -> None:
    await runner.cleanup()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def serve() -> Iterator[tuple[int, Counter[str]]]:
    """Serves BEHAVIOURS in a thread; yields the port and the number of requests for each path."""
    loop = asyncio.new_event_loop()
    app = web.Application(middlewares=[count])
    app[REQUEST_COUNTS] = request_counts = Counter()
    for path, (handler, _) in BEHAVIOURS.items():
        if "?" not in path:
            app.router.add_get(unquote(path), handler)
    app.router.add_get("/robots.txt", fixed(ROBOTS))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield runner.addresses[0][1], request_counts
    finally:
        asyncio.run_coroutine_threadsafe(_end(runner), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


IMAGE = picture()
LENGTH = str(len(IMAGE)).encode()

# path → (the bytes sent before the connection is closed, the error class it must end in)
RAW: dict[str, tuple[bytes, str | None]] = {
    "/http10": (b"HTTP/1.0 200 OK\r\n\r\n" + IMAGE, None),
    "/continue": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: " + LENGTH + b"\r\n\r\n" + IMAGE, None),
    "/header-flood": (b"HTTP/1.1 200 OK\r\n" + b"X-Flood: 0123456789abcdef\r\n" * 400_000 + b"\r\n" + IMAGE, "bad_response"),
    "/long-header": (b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 5_000_000 + b"\r\n\r\n" + IMAGE, "bad_response"),
    "/garbage": (b"\x16\x03\x01 what is this?\r\n\r\n", "bad_response"),
    "/nothing": (b"", "bad_response"),
    "/half-a-head": (b"HTTP/1.1 200 OK\r\nContent-Le", "bad_response"),
    "/bad-length": (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n" + IMAGE, "bad_response"),
    "/two-lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n" + IMAGE, "bad_response"),
    "/bad-chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + IMAGE, "bad_response"),
    "/cut-chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + IMAGE[:40], "bad_response"),
    "/bad-gzip": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: " + LENGTH + b"\r\n\r\n" + IMAGE,
        "bad_response",
    ),
}


class _Raw(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self) -> None:
        path = self.rfile.readline(4096).split(b" ")[1:2]
        response = RAW.get(path[0].decode(errors="replace")) if path else None
        with suppress(OSError):
            self.wfile.write(response[0] if response else b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


@contextmanager
def serve_raw() -> Iterator[int]:
    """Serves RAW in threads; yields the port."""
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Raw)) as port:
        yield port
