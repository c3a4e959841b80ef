"""A real S3 server on loopback, and a proxy before it that decides what becomes of each request."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec

KEY, SECRET = "pairmill", "pairmill-secret"
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextlib.contextmanager
def server(folder: Path) -> Iterator[int]:
    """SeaweedFS with one identity; yields the port of its S3 side once it answers."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"
    identity = {
        "name": "test",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    command = [
        weed,
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-volume.max=1000",  # seven for each bucket, made when first written to
    ]
    command += ["-master.volumeSizeLimitMB=64", f"-s3.config={folder / 'identities.json'}"]
    for name, port in ports.items():
        command += [f"-{name}.port={port}", f"-{name}.port.grpc={free_port()}"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                with contextlib.suppress(OSError):
                    connection = http.client.HTTPConnection("127.0.0.1", ports["s3"], timeout=5)
                    connection.request("GET", "/healthz")
                    if connection.getresponse().status == 200:
                        break
                time.sleep(0.2)
            else:
                raise RuntimeError((folder / "log").read_text()[-2000:])
            yield ports["s3"]
        finally:
            process.kill()  # a graceful stop takes half a minute
            process.wait(30)


@contextlib.contextmanager
def proxy(port: int, outcome: Callable[[], str], own: int = 0) -> Iterator[int]:
    """A proxy to the server on `port`; yields its own port, a free one unless it is to be `own`.

    `outcome` is called for each request: ok; 503; dropped, before the server has acted; lost_response, after it.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind = outcome()
            if kind == "503":
                return self.respond(503, [("Content-Type", "application/xml")], SLOW_DOWN)
            if kind != "dropped":
                upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    upstream.putheader(name, value)
                upstream.endheaders(body)
                response = upstream.getresponse()
                data, headers = response.read(), response.getheaders()
                upstream.close()
                if kind == "ok":
                    return self.respond(response.status, headers, data)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def respond(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = dict((name.lower(), value) for name, value in headers).get("content-length")
            self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward

        def log_message(self, *arguments: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", own), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(30)


def environment(port: int) -> dict[str, str]:
    """The environment variables that make fsspec use the server."""
    options = {
        "key": KEY,
        "secret": SECRET,
        "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"},
    }
    return {"FSSPEC_S3": json.dumps(options)}


def bucket(port: int) -> fsspec.AbstractFileSystem:
    """The server as a file system."""
    return fsspec.filesystem("s3", skip_instance_cache=True, **json.loads(environment(port)["FSSPEC_S3"]))
