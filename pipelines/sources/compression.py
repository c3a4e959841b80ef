"""Published bytes, decompressed; what they are is told by their first bytes, not by names.

A damaged or cut file is refused, not read as far as it goes. Where a stream has no checksum, as zstd and lz4 often write it,
damage within it may go unnoticed; `checksum_notice` says so.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar, cast

import pyarrow as pa

from infra.compat.errors import RequestError
from infra.compat.files import open_file

T = TypeVar("T")
CHUNK = 1 << 16  # compressed bytes that are read at once
REFUSED = {
    b"PK\3\4": "a zip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"ORC": "an ORC file",
    b"ARROW1": "an Arrow file",
    b"FEA1": "a Feather file",
    b"Obj\1": "an Avro file",
    b"\x1f\x9d": "compressed by compress",
    b"\x89LZO": "compressed by lzop",
    b"LZIP": "compressed by lzip",
    b"\x02\x21\x4c\x18": "compressed by an old lz4",
    b"\xff\x06\0\0sNaPpY": "compressed by snappy",
    b"\x5d\0\0": "compressed by lzma",
    **dict.fromkeys((b"\x78\x01", b"\x78\x9c", b"\x78\xda"), "compressed by zlib"),
    b"PAR1": "a compressed parquet file",  # one that is not compressed never comes here
    b"PARE": "an encrypted parquet file",
}
TAR, TAR_AT, HEAD_OF_ARCHIVE = b"ustar", 257, 512


def _arrow(codec: str) -> Callable[[BinaryIO], BinaryIO]:
    return lambda handle: cast(BinaryIO, io.BufferedReader(_Whole(pa.CompressedInputStream(pa.PythonFile(handle, "r"), codec))))


class _Whole(io.RawIOBase):
    """Arrow's decompressed stream as a file of Python's."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data: bytes = self.stream.read(len(buffer))
        except OSError as error:  # of Arrow's own, or of the file below
            raise EOFError(str(error)) if "compress" in str(error) else error from None
        buffer[: len(data)] = data
        return len(data)


def _streams(new: Callable[[], Any]) -> Callable[[BinaryIO], BinaryIO]:
    return lambda handle: cast(BinaryIO, io.BufferedReader(_Streams(handle, new)))


class _Streams(io.RawIOBase):
    """Compressed streams, one behind the other, as one file.

    Python's own readers of bzip2 and xz take a damaged stream behind another for the end of the file.
    """

    def __init__(self, handle: BinaryIO, new: Callable[[], Any]) -> None:
        self.handle, self.new, self.stream = handle, new, new()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data:
            if self.stream.eof:
                given = self._start_of_next()
                if not given:
                    return 0
                self.stream = self.new()
            else:
                given = self.handle.read(CHUNK) if self.stream.needs_input else b""
                if self.stream.needs_input and not given:
                    raise EOFError("the end of the stream is missing")
            try:
                data = self.stream.decompress(given, len(buffer))
            except OSError as error:  # of bzip2
                raise EOFError(str(error)) from None
        buffer[: len(data)] = data
        return len(data)

    def _start_of_next(self) -> bytes:
        """The first bytes of the next stream, without zeros before it; none at the end of the file."""
        given: bytes = self.stream.unused_data or self.handle.read(CHUNK)
        while given and not given.strip(b"\0"):
            given = self.handle.read(CHUNK)
        return given.lstrip(b"\0")


# First bytes → what the file is called, and what opens it.
COMPRESSIONS: dict[bytes, tuple[str, Callable[[BinaryIO], Any]]] = {
    b"\x1f\x8b": ("gzip", lambda handle: gzip.GzipFile(fileobj=handle)),
    b"\x28\xb5\x2f\xfd": ("zstd", _arrow("zstd")),
    **{bytes([0x50 + number]) + b"\x2a\x4d\x18": ("zstd", _arrow("zstd")) for number in range(16)},  # a frame to be skipped
    b"BZh": ("bzip2", _streams(bz2.BZ2Decompressor)),
    b"\xfd7zXZ\0": ("xz", _streams(lzma.LZMADecompressor)),
    b"\x04\x22\x4d\x18": ("lz4", _arrow("lz4")),
}

SKIPPED_FRAME = b"\x2a\x4d\x18"  # behind its first byte
# First bytes → the place of the byte with the flags, and those that say that there is a checksum of all, or of each block.
CHECKSUM_FLAGS = {b"\x28\xb5\x2f\xfd": (4, 0b100), b"\x04\x22\x4d\x18": (4, 0b10100), b"\xfd7zXZ\0": (7, 0b1111)}


@contextmanager
def open_bytes(uri: str) -> Iterator[BinaryIO]:
    """The file, decompressed; RequestError for an archive or a table program's file."""
    with open_file(uri) as handle:
        head = handle.read(HEAD_OF_ARCHIVE)
        handle.seek(0)
        _require_text(uri, head)
        opener = next((opener for start, (_, opener) in COMPRESSIONS.items() if head.startswith(start)), None)
        yield cast(BinaryIO, opener(handle) if opener else handle)


def checksum_notice(uri: str) -> str:
    """What to say of a compressed file whose bytes have no checksum; "" where they have one, or are not compressed."""
    with open_file(uri) as handle:
        head = handle.read(HEAD_OF_ARCHIVE)
    name = next((name for start, (name, _) in COMPRESSIONS.items() if head.startswith(start)), "")
    return f"compressed by {name} without a checksum, so damage may go unnoticed" if not _has_checksum(head) else ""


def _has_checksum(head: bytes) -> bool:
    """Whether the first stream of a compressed file says that it has checksums, as those of gzip and bzip2 always do.

    Source: RFC 8878 §3.1.1, the LZ4 frame format, the .xz file format §2.1.1.
    """
    while head[1:4] == SKIPPED_FRAME:
        head = head[8 + int.from_bytes(head[4:8], "little") :]
    for start, (place, bits) in CHECKSUM_FLAGS.items():
        if head.startswith(start) and len(head) > place:
            return bool(head[place] & bits)
    return True


def _require_text(uri: str, head: bytes) -> None:
    """Raises RequestError for a file that begins like one of another kind; where that is letters alone, text may, too."""
    kind = "a tar archive" if head[TAR_AT : TAR_AT + len(TAR)] == TAR else None
    starts = [start for start in REFUSED if head.startswith(start) and (b"\0" in head or not start.isalnum())]
    kind = REFUSED[starts[0]] if starts else kind
    if kind:
        raise RequestError(f"{uri} is {kind}; unpack it, or save it as csv in UTF-8")


def head_of(uri: str, size: int) -> bytes:
    """The first `size` bytes of the file, decompressed."""
    with open_bytes(uri) as handle:
        head = reading(uri, lambda: handle.read(size))
    _require_text(uri, head)
    for start, (name, _) in COMPRESSIONS.items():
        if head.startswith(start):
            raise RequestError(f"{uri} is compressed twice, by {name} last; unpack it once")
    return head


def reading(uri: str, read: Callable[[], T]) -> T:
    """What `read` returns; RequestError where the file's compression is damaged or ends early."""
    try:
        return read()
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error, pa.ArrowException) as error:
        raise RequestError(f"{uri} is damaged, or ends early ({error}); fetch it again") from None
