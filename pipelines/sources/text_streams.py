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
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar, cast

import pyarrow as pa

from infra.compat.errors import RequestError
from infra.compat.files import open_file

T = TypeVar("T")
HEAD = 1 << 16  # bytes that are looked at
CHUNK = 1 << 16  # compressed bytes that are read at once
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
LEAST_SHARE, LEAST_FREQUENT = 0.2, 5  # of all characters, and how many different ones: of a few words none can tell
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
    b"\x5d\0\0": "compressed by lzma",
    **dict.fromkeys((b"\x78\x01", b"\x78\x9c", b"\x78\xda"), "compressed by zlib"),
    b"PAR1": "a compressed parquet file",  # one that is not compressed never comes here
    b"PARE": "an encrypted parquet file",
}
TAR, TAR_AT, HEAD_OF_ARCHIVE = b"ustar", 257, 512


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


@contextmanager
def open_bytes(uri: str) -> Iterator[BinaryIO]:
    """The file, decompressed; RequestError for an archive or a table program's file."""
    with open_file(uri) as handle:
        head = handle.read(HEAD_OF_ARCHIVE)
        handle.seek(0)
        _require_text(uri, head)
        opener = next((opener for start, (_, opener) in COMPRESSIONS.items() if head.startswith(start)), None)
        yield cast(BinaryIO, opener(handle) if opener else handle)


def _require_text(uri: str, head: bytes) -> None:
    """Raises RequestError for a file that begins like one of another kind; where that is letters alone, text may, too."""
    kind = "a tar archive" if head[TAR_AT : TAR_AT + len(TAR)] == TAR else None
    starts = [start for start in REFUSED if head.startswith(start) and (b"\0" in head or not start.isalnum())]
    kind = REFUSED[starts[0]] if starts else kind
    if kind:
        raise RequestError(f"{uri} is {kind}; unpack it, or save it as csv in UTF-8")


@contextmanager
def open_text(uri: str, newline: str) -> Iterator[io.TextIOWrapper]:
    """The file as text; `newline` as of `io.TextIOWrapper`."""
    encoding = encoding_of(head_of(uri))
    with open_bytes(uri) as data, io.TextIOWrapper(data, encoding=encoding, errors=ESCAPE, newline=newline) as text:
        yield text


def head_of(uri: str) -> bytes:
    """The first bytes of the file, decompressed."""
    with open_bytes(uri) as handle:
        head = reading(uri, lambda: handle.read(HEAD))
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


def encoding_of(head: bytes) -> str:
    """The encoding of a file that begins so: by its mark, or by which bytes there are. UTF-8 where no other is recognised."""
    for bom, encoding in sorted(BOMS.items(), key=lambda item: -len(item[0])):
        if head.startswith(bom):
            return encoding
    if head and b"\0" in head:
        even, odd = head[::2].count(0) * 2 / len(head), head[1::2].count(0) * 2 / len(head)
        if max(even, odd) > 0.3 > min(even, odd) * 3:
            return "utf-16-le" if odd > even else "utf-16-be"
        little, big = _lines_in_utf16(head)  # of Chinese text hardly any other bytes are zeros
        if max(little, big) > 1 and max(even, odd) < 0.3:
            return "utf-16-le" if little > big else "utf-16-be"
    # A character may be cut at the end; the last line is left out.
    lines = [line for line in head[: head.rfind(b"\n") + 1 or len(head)].split(b"\n") if HIGH.search(line)]
    is_utf8 = sum(_decodes(line, "utf-8") for line in lines)
    if is_utf8 * 2 >= len(lines):
        return "utf-8"
    chinese = [line.decode("gb18030") for line in lines if _decodes(line, "gb18030")]
    han = HAN.findall("".join(chinese))
    frequent = [character for character in han if character in FREQUENT]
    is_chinese = len(frequent) >= LEAST_SHARE * len(han) and len(set(frequent)) >= LEAST_FREQUENT
    return "gb18030" if len(chinese) * 2 > len(lines) and is_chinese else "utf-8"


def _lines_in_utf16(head: bytes) -> tuple[int, int]:
    """How many lines end as in UTF-16, of either order of bytes."""
    pairs = Counter(zip(head[::2], head[1::2], strict=False))
    return pairs[ord("\n"), 0], pairs[0, ord("\n")]


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
