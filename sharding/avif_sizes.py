"""The sizes of an AVIF, which gives each of them twice: in its container, and in the coded picture.

An AVIF is a tree of boxes. Each item in it (a picture, its transparency, a tile of a grid) has the property `ispe` with its size,
and somewhere in the file an AV1 stream whose sequence header has the size that decoding takes memory for. Decoders scale one to
the other without a word, so both are read here. Of a film, the track has a size, and the stream is that of its first sample.

Source: ISO/IEC 14496-12 (boxes), 23008-12 (items), the AV1 specification §5.5 (sequence header).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

Size = tuple[int, int]  # width, height
Boxes = dict[bytes, list[bytes]]  # by kind, the contents of a box's children in their order

SEQUENCE_HEADER = 1  # type of an OBU, the unit of an AV1 stream
IN_FILE, IN_IDAT = 0, 1  # where the data of an item lies
FULL = 4  # bytes of version and flags, with which some boxes begin
MOST_OVERLAP = 4  # how often, on average, items may share a byte
MOST_LEVEL_WITHOUT_TIER = 7


def avif_sizes(data: bytes) -> list[tuple[Size, Size]]:
    """(declared, coded) of each AV1 item and each film's first picture; ValueError where one of them cannot be read."""
    sizes, top = list[tuple[Size, Size]](), _boxes(data)
    try:
        for meta in (_boxes(box[FULL:]) for box in top.get(b"meta", [])):
            sizes += _sizes_of_items(data, meta) if b"iinf" in meta else []
        for moov in map(_boxes, top.get(b"moov", [])):
            for track in map(_boxes, moov.get(b"trak", [])):
                sizes += _sizes_of_track(data, track)
    except (KeyError, IndexError, struct.error) as error:
        raise ValueError(f"a size of the AVIF cannot be read ({error!r})") from None
    return sizes


def _sizes_of_items(data: bytes, meta: Boxes) -> Iterator[tuple[Size, Size]]:
    contents = _contents(meta[b"iloc"][0], data, meta.get(b"idat", [b""])[0])
    declared = _declared_sizes(_boxes(meta[b"iprp"][0]))
    first = next(iter(declared.values()), [])  # for transparency to which old encoders give no size of its own
    for item in _av1_items(meta[b"iinf"][0]):
        for coded in _coded_sizes(contents[item]):
            for size in declared.get(item, first):
                yield size, coded


def _sizes_of_track(data: bytes, track: Boxes) -> Iterator[tuple[Size, Size]]:
    width, height = struct.unpack(">II", track[b"tkhd"][0][-8:])  # 16.16 fixed point, the last fields
    if not width * height:  # of sound
        return
    table = _boxes(_boxes(_boxes(track[b"mdia"][0])[b"minf"][0])[b"stbl"][0])
    places, form = (table[b"co64"], ">Q") if b"co64" in table else (table[b"stco"], ">I")
    (at,) = struct.unpack_from(form, places[0], 8)
    size_of_all, _, size_of_first = struct.unpack_from(">III", table[b"stsz"][0] + bytes(4), FULL)
    for coded in _coded_sizes(data[at : at + (size_of_all or size_of_first)]):
        yield (width >> 16, height >> 16), coded


def _children(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of boxes that lie one behind the other."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = at + size if size else len(data)  # 0: to the end
        if end < start:
            return
        yield kind, data[start:end]
        at = end


def _boxes(data: bytes) -> Boxes:
    boxes: Boxes = {}
    for kind, content in _children(data):
        boxes.setdefault(kind, []).append(content)
    return boxes


def _av1_items(infos: bytes) -> Iterator[int]:
    for _, info in _children(infos[FULL + (4 if infos[0] else 2) :]):
        form = {2: ">HH4s", 3: ">IH4s"}.get(info[0])  # by version
        if form:
            item, _, kind = struct.unpack_from(form, info, FULL)
            if kind == b"av01":
                yield item


def _declared_sizes(properties: Boxes) -> dict[int, list[Size]]:
    """Item → the sizes of its `ispe`."""
    every, sizes = list(_children(properties[b"ipco"][0])), dict[int, list[Size]]()
    for box in properties[b"ipma"]:
        fields = _Fields(box)
        version, flags = fields.number(1), fields.number(3)
        for _ in range(fields.number(4)):
            item = fields.number(4 if version else 2)
            for _ in range(fields.number(1)):
                index = fields.number(2) & 0x7FFF if flags & 1 else fields.number(1) & 0x7F
                kind, content = every[index - 1] if 0 < index <= len(every) else (b"", b"")
                if kind == b"ispe":
                    sizes.setdefault(item, []).append(struct.unpack_from(">II", content, FULL))
    return sizes


def _contents(iloc: bytes, data: bytes, idat: bytes) -> dict[int, bytes]:
    """Item → its data."""
    fields, contents, total = _Fields(iloc), dict[int, bytes](), 0
    version, _ = fields.number(1), fields.number(3)
    offset_size, length_size = divmod(fields.number(1), 16)
    base_size, index_size = divmod(fields.number(1), 16)
    long = 4 if version == 2 else 2
    for _ in range(fields.number(long)):
        item = fields.number(long)
        place = fields.number(2) & 0xF if version else IN_FILE
        fields.number(2)
        base, pieces = fields.number(base_size), list[bytes]()
        for _ in range(fields.number(2)):
            fields.number(index_size if version else 0)
            offset, length = base + fields.number(offset_size), fields.number(length_size)
            source = data if place == IN_FILE else idat if place == IN_IDAT else b""
            pieces.append(source[offset : offset + length] if length else source[offset:])
            total += len(pieces[-1])
            if total > MOST_OVERLAP * len(data):
                raise struct.error("the same bytes are named too often")
        contents[item] = b"".join(pieces)
    return contents


class _Fields:
    """Numbers one behind the other, in big-endian order; struct.error at the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, size: int) -> int:
        self.at += size
        if self.at > len(self.data):
            raise struct.error("the box ends early")
        return int.from_bytes(self.data[self.at - size : self.at], "big")


def _coded_sizes(stream: bytes) -> list[Size]:
    """The size in each sequence header of an AV1 stream; IndexError where it has none."""
    at, sizes = 0, list[Size]()
    while at < len(stream):
        header = stream[at]
        at += 2 if header & 0b100 else 1
        size, at = _leb128(stream, at) if header & 0b10 else (len(stream) - at, at)
        if header >> 3 & 0xF == SEQUENCE_HEADER:
            sizes.append(_size_in_sequence_header(_Bits(stream[at : at + size])))
        at += size
    if not sizes:
        raise IndexError("no sequence header")
    return sizes


def _leb128(stream: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    value = shift = 0
    while at < len(stream) and shift < 56:
        value |= (stream[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not stream[at - 1] & 0x80:
            break
    return value, at


class _Bits:
    """Bits one behind the other, the highest of a byte first; zeros behind the end."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self.left -= count
        return (self.value >> self.left if self.left >= 0 else self.value << -self.left) & ((1 << count) - 1)


def _size_in_sequence_header(bits: _Bits) -> Size:
    bits.take(4)  # profile, still_picture
    if bits.take(1):  # reduced_still_picture_header
        bits.take(5)
    else:
        delay_bits = _skip_timing(bits) if bits.take(1) else 0
        _skip_operating_points(bits, delay_bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


def _skip_timing(bits: _Bits) -> int:
    """The number of bits of a delay of the decoder model, 0 where there is no such model."""
    bits.take(64)
    if bits.take(1):
        zeros = 0
        while zeros < 32 and not bits.take(1):
            zeros += 1
        bits.take(zeros)
    if not bits.take(1):
        return 0
    delay_bits = bits.take(5) + 1
    bits.take(42)
    return delay_bits


def _skip_operating_points(bits: _Bits, delay_bits: int) -> None:
    has_initial_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > MOST_LEVEL_WITHOUT_TIER:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if has_initial_delay and bits.take(1):
            bits.take(4)
