"""Published bytes, compressed or not and in any usual encoding, as text. Both are recognised by the first bytes, not by names.

Bytes that the encoding does not know come as lone surrogates, as Python's own `surrogateescape` gives them for ASCII's relatives,
so that the reader can reject the row that holds them and no other.
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
HIGH, HAN = re.compile(rb"[\x80-\xff]"), re.compile("[\u4e00-\u9fff]")
# The most frequent Chinese characters: a third and more of any Chinese text. Korean or Japanese bytes that happen to be valid
# GB18030 become characters drawn from thousands.
FREQUENT = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当"
    "没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物"
    "手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条"
)
LEAST_FREQUENT = 0.2
REFUSED = {
    b"PK\3\4": "a zip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\xd0\xcf\x11\xe0": "an Excel file",
}


ESCAPE = "lone_surrogates"


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(ESCAPE, _escape)


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
    return io.TextIOWrapper(open_bytes(uri), encoding=encoding, errors=ESCAPE, newline=newline)


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
    chinese = [line.decode("gb18030") for line in lines if _decodes(line, "gb18030")]
    han = HAN.findall("".join(chinese))
    is_chinese = sum(character in FREQUENT for character in han) >= LEAST_FREQUENT * len(han) > 0
    return "gb18030" if len(chinese) * 2 > len(lines) and is_chinese else "utf-8"


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
