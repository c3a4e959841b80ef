"""Byte ranges of objects by plain GETs of URLs that the store's file system signs, once for each object.

fsspec's client of S3 signs, parses and hands over every request in Python, which takes as long as decoding a picture or two.
Here a thread writes its requests to as many kept connections, then reads the answers one after the other: the store works on all
of them meanwhile. Only an answer of exactly the bytes that were wanted counts; for everything else (a 503, a redirect, a
signature that the store does not take, a cut connection) the caller asks the file system, whose errors and retries are those that
people know.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies

import fsspec

from sharding.range_columns import Range

AT_ONCE = 16  # requests of a thread that are under way
TIMEOUT_S = 20.0
PAUSE_S = 60.0  # in which the file system alone is asked, after the store did not answer in time
SIGNED_S, RENEWED_S = 3600, 1800  # how long a signature holds, and how long it is used
IDLE_S = 5.0  # a connection that was not used for longer may have been closed by the store
FAILURES = 32  # in a row, after which it is no use to go on
URLS = 1024  # signed URLs that are kept
BUFFER, LONGEST_LINE = 1 << 16, 1 << 14


_Place: TypeAlias = tuple[int, str, str]  # of the process, scheme and host


class _Url(NamedTuple):
    scheme: str
    host: str
    target: str
    signed_at: float


class _Connection:
    """A connection to a store, for one request at a time."""

    def __init__(self, place: _Place) -> None:
        self.place, (_, scheme, host) = place, place
        address = urlsplit(f"{scheme}://{host}")
        port = address.port or (443 if scheme == "https" else 80)
        self._socket = socket.create_connection((address.hostname or "", port), TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme == "https":
            self._socket = _tls().wrap_socket(self._socket, server_hostname=address.hostname)
        self._file = self._socket.makefile("rb", BUFFER)
        self.used_at = time.monotonic()

    def send(self, url: _Url, where: Range) -> None:
        """Requests a range."""
        lines = [f"GET {url.target} HTTP/1.1", f"Host: {url.host}", f"Range: bytes={where.start}-{where.end - 1}"]
        self._socket.sendall("\r\n".join([*lines, "Accept-Encoding: identity", "User-Agent: pairmill", "", ""]).encode())

    def receive(self, where: Range) -> bytes:
        """The range that was requested; OSError when the answer is another."""
        status, headers = self._file.readline(LONGEST_LINE), dict[bytes, bytes]()
        while (line := self._file.readline(LONGEST_LINE)).strip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        size, begins = where.end - where.start, headers.get(b"content-range", b"").startswith(b"bytes %d-" % where.start)
        if status[:13] != b"HTTP/1.1 206 " or headers.get(b"content-length") != b"%d" % size or not begins:
            raise OSError(f"the store answers {status.decode(errors='replace').strip() or 'nothing'}, or not the range")
        data: bytes = self._file.read(size)
        if len(data) < size or headers.get(b"connection", b"").lower() == b"close":
            self.close()
        if len(data) < size:
            raise OSError("the answer ends early")
        self.used_at = time.monotonic()
        return data

    @property
    def is_open(self) -> bool:
        """Whether it is worth a further request."""
        return self._socket.fileno() >= 0 and time.monotonic() - self.used_at < IDLE_S

    def close(self) -> None:
        """Ends the connection."""
        self._file.close()
        self._socket.close()


class SignedGets:
    """Ranges of the objects of a store; for use by several threads."""

    def __init__(self, fs: fsspec.AbstractFileSystem) -> None:
        self._fs, self._lock, self._failures, self._resumes_at = fs, Lock(), 0, 0.0
        self._urls = OrderedDict[str, _Url]()
        self._idle: dict[_Place, deque[_Connection]] = defaultdict(deque)

    @property
    def is_useful(self) -> bool:
        """Whether the store has not refused too often, and does not keep readers waiting: each request would wait in turn."""
        return self._failures < FAILURES and time.monotonic() >= self._resumes_at

    def read(self, ranges: Sequence[Range]) -> list[bytes | None]:
        """The bytes of each range; None where the store did not answer with exactly these."""
        results = list[bytes | None]()
        for first in range(0, len(ranges), AT_ONCE):
            some = ranges[first : first + AT_ONCE]
            sent = [self._send(where) for where in some]
            results += [self._receive(connection, where) for connection, where in zip(sent, some, strict=True)]
        return results

    def _send(self, where: Range) -> _Connection | None:
        try:
            if not self.is_useful:
                return None
            url = self._url(where.path)
            connection = self._connection(url)
            connection.send(url, where)
        except Exception as error:  # signing raises many kinds
            self._failed(where, error)
            return None
        return connection

    def _receive(self, connection: _Connection | None, where: Range) -> bytes | None:
        if connection is None:
            return None
        if not self.is_useful:
            connection.close()
            return None
        try:
            data = connection.receive(where)
        except (OSError, ValueError) as error:
            connection.close()
            self._failed(where, error)
            return None
        with self._lock:
            self._failures = 0
            self._idle[connection.place].append(connection)
        return data

    def _failed(self, where: Range, error: Exception) -> None:
        with self._lock:
            self._failures += 1
            self._urls.pop(where.path, None)  # credentials may have changed
            if isinstance(error, TimeoutError):
                self._resumes_at = time.monotonic() + PAUSE_S

    def _connection(self, url: _Url) -> _Connection:
        """One that is kept, or a new one; none that another process uses too, after a fork."""
        place = (os.getpid(), url.scheme, url.host)
        with self._lock:
            while kept := self._idle[place]:
                if (connection := kept.pop()).is_open:
                    return connection
        return _Connection(place)

    def _url(self, path: str) -> _Url:
        with self._lock:
            known = self._urls.get(path)
        if known is None or time.monotonic() - known.signed_at > RENEWED_S:
            signed = urlsplit(self._fs.sign(path, expiration=SIGNED_S))
            known = _Url(signed.scheme, signed.netloc, signed._replace(scheme="", netloc="").geturl(), time.monotonic())
            with self._lock:
                self._urls[path] = known
                while len(self._urls) > URLS:
                    self._urls.popitem(last=False)
        return known


@lru_cache(1)
def _tls() -> ssl.SSLContext:
    """The certificates that botocore takes by environment, or the system's."""
    return ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or None)


def signed_gets(fs: fsspec.AbstractFileSystem) -> SignedGets | None:
    """Plain GETs of a file system, where it is S3 and no setting says that its requests need more than a signature."""
    own = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    needs_more = ("req_kw", "s3_additional_kwargs", "version_aware")
    settings: dict[str, Any] = {**getattr(fs, "config_kwargs", {}), **getattr(fs, "client_kwargs", {})}
    if "s3" not in own or any(getattr(fs, name, None) for name in needs_more):
        return None
    if {"proxies", "verify", "config"} & settings.keys() or getproxies():
        return None
    return SignedGets(fs)
