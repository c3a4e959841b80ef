"""A web server of a folder on loopback that answers ranges, late, with faults, and counts what it sent."""

import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.serving import serving


class Behaviour:
    """Shares of requests: `busy` get a 503, `cut` half of their bytes, `dropped` none. Every one is `delay` seconds late."""

    def __init__(self, busy: float = 0.0, cut: float = 0.0, dropped: float = 0.0, delay: float = 0.0, seed: int = 0) -> None:
        self.busy, self.cut, self.dropped, self.delay = busy, cut, dropped, delay
        self.rng, self.lock = random.Random(seed), threading.Lock()
        self.requests, self.bytes = 0, 0

    def draw(self) -> str:
        with self.lock:
            self.requests += 1
            drawn = self.rng.random()
        for kind, share in (("busy", self.busy), ("cut", self.cut), ("dropped", self.dropped)):
            if drawn < share:
                return kind
            drawn -= share
        return "ok"


@contextmanager
def ranged_server(folder: Path, behaviour: Behaviour) -> Iterator[str]:
    """Serves the folder's files; yields the URI."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(send=False)

        def do_GET(self) -> None:
            self.answer(send=True)

        def answer(self, send: bool) -> None:
            time.sleep(behaviour.delay)
            path, kind = folder / self.path.partition("?")[0].lstrip("/"), behaviour.draw()
            if not path.is_file() or kind == "busy":
                self.send_response(503 if path.is_file() else 404)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            data, size = path.read_bytes(), path.stat().st_size
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
            self.send_response(206 if wanted else 200)
            if wanted:
                first, last = int(wanted[1]), min(int(wanted[2]), size - 1)
                data = data[first : last + 1]
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if not send:
                return
            if kind != "ok":
                data = data[: len(data) // 2] if kind == "cut" else b""
                self.close_connection = True
            self.wfile.write(data)
            with behaviour.lock:
                behaviour.bytes += len(data)
            if kind != "ok":
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *arguments: object) -> None:
            return

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}"
