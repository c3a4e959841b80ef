"""Published bytes, compressed or not and in any usual encoding, as text. Both are recognised by the first bytes, not by names.

Bytes that the encoding does not know come as lone surrogates (U+FFFD where the encoding has two-byte units), so that the reader can
reject the row that holds them and no other.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar, cast

import fsspec
import pyarrow as pa

from infra.compat.errors import RequestError

T = TypeVar("T")
HEAD = 1 << 16  # bytes that are looked at
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
BOMS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# A pair of bytes as GB2312 writes a Chinese character: both are 0xA1 or more. In Latin-1 and its kin such bytes stand alone.
GB_PAIR, HIGH = re.compile(rb"[\xa1-\xf7][\xa1-\xfe]"), re.compile(rb"[\x80-\xff]")
LEAST_SHARE = 0.9
REFUSED = {
    b"PK\3\4": "a zip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\xd0\xcf\x11\xe0": "an Excel file",
}


def _arrow(codec: str) -> Callable[[BinaryIO], BinaryIO]:
    return lambda handle: cast(BinaryIO, io.BufferedReader(_Whole(pa.CompressedInputStream(pa.PythonFile(handle, "r"), codec))))


class _Whole(io.RawIOBase):
    """Arrow's decompressed stream as a file of Python's."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data: bytes = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


# First bytes → what the file is called, and what opens it.
COMPRESSIONS: dict[bytes, tuple[str, Callable[[BinaryIO], Any]]] = {
    b"\x1f\x8b": ("gzip", lambda handle: gzip.GzipFile(fileobj=handle)),
    b"\x28\xb5\x2f\xfd": ("zstd", _arrow("zstd")),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\0": ("xz", lzma.LZMAFile),
    b"\x04\x22\x4d\x18": ("lz4", _arrow("lz4")),
}


def open_bytes(uri: str) -> BinaryIO:
    """The file, decompressed; RequestError for an archive or a table program's file."""
    handle = fsspec.open(uri, "rb").open()
    magic = handle.read(8)
    handle.seek(0)
    for start, kind in REFUSED.items():
        if magic.startswith(start):
            raise RequestError(f"{uri} is {kind}; unpack it, or save it as csv in UTF-8")
    opener = next((opener for start, (_, opener) in COMPRESSIONS.items() if magic.startswith(start)), None)
    return cast(BinaryIO, opener(handle) if opener else handle)


def open_text(uri: str, newline: str) -> io.TextIOWrapper:
    """The file as text; `newline` as of `io.TextIOWrapper`."""
    encoding = encoding_of(head_of(uri))
    errors = "surrogateescape" if encoding in ("utf-8", "utf-8-sig", "gb18030") else "replace"
    return io.TextIOWrapper(open_bytes(uri), encoding=encoding, errors=errors, newline=newline)


def head_of(uri: str) -> bytes:
    """The first bytes of the file, decompressed."""
    with open_bytes(uri) as handle:
        return reading(uri, lambda: handle.read(HEAD))


def reading(uri: str, read: Callable[[], T]) -> T:
    """What `read` returns; RequestError where the file's compression is damaged or ends early."""
    try:
        return read()
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, pa.ArrowException) as error:
        raise RequestError(f"{uri} is damaged, or ends early ({error}); fetch it again") from None


def encoding_of(head: bytes) -> str:
    """The encoding of a file that begins so: by its mark, or by which bytes there are. UTF-8 where no other is recognised."""
    for bom, encoding in sorted(BOMS.items(), key=lambda item: -len(item[0])):
        if head.startswith(bom):
            return encoding
    if head and b"\0" in head:
        even, odd = head[::2].count(0) * 2 / len(head), head[1::2].count(0) * 2 / len(head)
        if max(even, odd) > 0.3 > min(even, odd) * 3:
            return "utf-16-le" if odd > even else "utf-16-be"
    # A character may be cut at the end; the last line is left out.
    lines = [line for line in head[: head.rfind(b"\n") + 1 or len(head)].split(b"\n") if HIGH.search(line)]
    is_utf8 = sum(_decodes(line, "utf-8") for line in lines)
    if is_utf8 * 2 >= len(lines):
        return "utf-8"
    pairs, high = (sum(len(pattern.findall(line)) for line in lines) for pattern in (GB_PAIR, HIGH))
    is_gb = sum(_decodes(line, "gb18030") for line in lines)
    return "gb18030" if is_gb * 2 > len(lines) and pairs * 2 >= LEAST_SHARE * high else "utf-8"


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
