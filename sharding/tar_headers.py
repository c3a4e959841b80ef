"""Where the members of a tar lie, from its headers alone: ustar, GNU and PAX.

A header says how long its data is, and so where the next header lies: data is leapt over, not read. Headers are looked up in a
window of the file, and a miss reads the block that begins there: small members that follow each other share one read. Python's
tarfile reads every 512 bytes by themselves, and ends silently at a broken header, which is the loss that must be named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

BLOCK = 512
EMPTY = b"\0" * BLOCK
LOCAL_WINDOW, REMOTE_WINDOW = 1 << 14, 1 << 20  # bytes: a request over a network costs as much as a megabyte
LONGEST_EXTRA = 1 << 20  # bytes of a long name or PAX header; a broken one may claim gigabytes
FILE_TYPES = (b"0", b"\0", b"7")
NAMED = 3  # of many, in a fault
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}


class TarMember(NamedTuple):
    """A file in a tar; `offset` is that of its data, in bytes from the start of the tar."""

    name: str
    offset: int
    length: int


@dataclass
class TarContents:
    """The files of a tar in its order, and in words what is wrong with it."""

    members: list[TarMember] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Window:
    """A file of `size` bytes read forwards in blocks, of which the last is kept; with `hashed` no byte is left out."""

    def __init__(self, handle: BinaryIO, size: int, block: int, *, hashed: bool = False) -> None:
        self.handle, self.size, self.block = handle, size, block
        self.start, self.data, self.reads = 0, b"", 0
        self._sha256 = hashlib.sha256() if hashed else None

    def read(self, offset: int, length: int) -> bytes:
        """The bytes at `offset`, which is not before that of the last call; fewer where the file ends."""
        end = min(offset + length, self.size)
        if end > self.start + len(self.data):
            self._fill(offset, end)
        return self.data[offset - self.start : end - self.start]

    def sha256(self) -> str:
        """The checksum of the whole file, the rest of which is read; empty unless it is `hashed`."""
        if self._sha256 is None:
            return ""
        self.read(self.size - 1, 1)
        return self._sha256.hexdigest()

    def _fill(self, offset: int, end: int) -> None:
        if self._sha256 is None:
            self.start, self.data = offset, self._block(offset, end)
            return
        while (behind := self.start + len(self.data)) < end:
            block = self._block(behind, behind + 1)
            if not block:
                return
            self._sha256.update(block)
            kept = self.data[max(0, offset - self.start) :]
            self.start, self.data = behind - len(kept), kept + block

    def _block(self, offset: int, end: int) -> bytes:
        """The bytes from `offset` to `end` at least, one block unless the file ends."""
        self.reads += 1
        self.handle.seek(offset)
        return self.handle.read(max(0, min(max(end - offset, self.block), self.size - offset)))


def read_members(window: Window) -> TarContents:
    """The files of a tar; one that is cut off or broken has those before the place."""
    contents, position, extra, common = TarContents(), 0, dict[str, str](), dict[str, str]()
    unreadable: list[str] = []
    while (header := window.read(position, BLOCK)) != EMPTY:
        fault = _header_fault(header, position)
        size = _number(header[124:136])
        if fault or size is None:
            contents.faults.append(fault or f"the header at byte {position:,} has no size; what follows is not read")
            break
        kind, data = header[156:157], position + BLOCK
        if kind == b"S" and header[482]:
            data = _behind_maps(window, data)
        if kind in b"LKxg":
            text = window.read(data, size) if size <= LONGEST_EXTRA else b""
            if kind == b"L":
                extra["path"] = _text(text.rstrip(b"\0"))
            elif kind in b"xg":
                (extra if kind == b"x" else common).update(_pax(text))
        else:
            attributes, extra = common | extra, {}
            name, size = attributes.get("path") or _name(header), int(attributes.get("size", size))
            if data + size > window.size and kind in FILE_TYPES:
                contents.faults.append(f"ends early, at byte {window.size:,}: {name} is cut off")
                break
            if kind in b"12S" or _is_sparse(attributes):
                unreadable.append(name)
            elif kind in FILE_TYPES and not name.endswith("/"):
                contents.members.append(TarMember(name.removeprefix("./"), data, size))
            size = 0 if kind in b"123456" else size
        position = data + -(-size // BLOCK) * BLOCK
    else:
        contents.faults += _faults_after(window, position)
    if unreadable:
        contents.faults.append(f"{counted(unreadable, 'link or sparse file')} left out: the data lies elsewhere")
    return contents


def counted(names: list[str], what: str) -> str:
    """`3 links (a, b, c)`, for a fault."""
    more = ", …" if len(names) > NAMED else ""
    return f"{len(names):,} {what}{'s' if len(names) > 1 else ''} ({', '.join(names[:NAMED])}{more})"


def begins_member(header: bytes, length: int) -> bool:
    """Whether the block before a member of `length` bytes is a header that says so, or one whose size stands in a PAX header."""
    size = _number(header[124:136])
    return size == length or (size == 0 and not _header_fault(header, BLOCK))


def _header_fault(header: bytes, position: int) -> str:
    if len(header) < BLOCK and not (position == 0 and header.startswith(tuple(COMPRESSED))):
        return "ends early, without the empty block that ends a tar; it may be cut off"
    kind = next((name for magic, name in COMPRESSED.items() if position == 0 and header.startswith(magic)), None)
    if kind:
        return f"is compressed with {kind}, so that nothing in it can be read by its place; unpack it"
    checksum = _number(header[148:156])
    if checksum != sum(header[:148]) + sum(header[156:]) + 256 and checksum != _signed_sum(header):
        return f"byte {position:,} begins no header of a tar; what follows is not read"
    return ""


def _behind_maps(window: Window, position: int) -> int:
    """Where the data of a GNU sparse file begins: behind the blocks of its map, each of which says whether one more follows."""
    while (block := window.read(position, BLOCK)) and len(block) == BLOCK and block[504]:
        position += BLOCK
    return position + BLOCK


def _signed_sum(header: bytes) -> int:
    """The checksum of old programs, which took bytes for signed."""
    return sum(byte - 256 if byte > 127 else byte for byte in header[:148] + header[156:]) + 256


def _faults_after(window: Window, end: int) -> list[str]:
    """What lies behind the first empty block: more of these, as tars are filled up with them."""
    rest = window.read(end, window.block)
    if rest.strip(b"\0"):
        return [f"{window.size - end:,} bytes after the end of the tar, at byte {end:,}, are not read; they may be another tar's"]
    return []


def _number(digits: bytes) -> int | None:
    """A number of a header: octal text, or 95 bits where the first is set (GNU); None where it is neither."""
    if digits[:1] and digits[0] & 0x80:
        return int.from_bytes(digits, "big") & ((1 << (8 * len(digits) - 1)) - 1)
    text = digits.partition(b"\0")[0].strip()
    return int(text or b"0", 8) if not text.strip(b"01234567") else None


def _name(header: bytes) -> str:
    name, prefix = (_text(part.partition(b"\0")[0]) for part in (header[:100], header[345:500]))
    return f"{prefix}/{name}" if prefix and header[257:263] == b"ustar\0" else name


def _text(data: bytes) -> str:
    """A name; bytes that are not UTF-8 are written out, so that names that differ still do."""
    return data.decode(errors="backslashreplace")


def _pax(data: bytes) -> dict[str, str]:
    """The attributes of a PAX header, lines `<length> <key>=<value>`; what is broken in it is left out."""
    attributes = {}
    while data:
        digits, space, _ = data.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 10 else 0
        if not space or length <= len(digits):
            break
        key, equals, value = data[len(digits) + 1 : length].removesuffix(b"\n").partition(b"=")
        if equals and (key != b"size" or (value.isdigit() and len(value) < 20)):
            attributes[_text(key)] = _text(value)
        data = data[length:]
    return attributes


def _is_sparse(attributes: Mapping[str, str]) -> bool:
    return any(name.startswith("GNU.sparse") for name in attributes)
