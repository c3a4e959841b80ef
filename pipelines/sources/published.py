"""The columns of `samples` that a publisher gives, and how their values are read from whatever type a file writes them in.

Text    strings or bytes, by dictionary or not. Arrow does not check that strings are UTF-8; here it is checked.
Number  integers, floats, decimals or text. NaN, infinities, negative sizes and empty text mean "not known": NULL.
Hash    16 hexadecimal digits, or a 64-bit integer; anything else is NULL.

Any other value that cannot be read, such as `abc` as a width, is a fault: it costs its row, never the file.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

PUBLISHED: dict[str, pa.DataType] = {
    "url": pa.string(),
    "caption": pa.string(),
    "alt_text": pa.string(),
    "language": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "license": pa.string(),
    "clip_similarity": pa.float32(),
    "watermark": pa.float32(),
    "unsafe": pa.float32(),
    "aesthetic": pa.float32(),
    "image_phash": pa.uint64(),
    "image_hash": pa.string(),
}

LIMITS = {pa.int32(): 2.0**31, pa.float32(): float(np.finfo(np.float32).max)}
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
NOT_KNOWN = r"^(?i)([+-]?(nan|inf|infinity)|null|none|n/?a|-|)$"


class Fault(NamedTuple):
    """A value that cannot be read: its row in the column, the reason, and the value as text."""

    row: int
    reason: str
    raw: str


Read = tuple[pa.ChunkedArray, list[Fault]]  # the values[N], NULL where there is a fault, and the faults


def read_values(column: pa.ChunkedArray, kind: pa.DataType) -> Read:
    """The values[N] of a column in one of the types of `PUBLISHED`."""
    column = _without_dictionary(column)
    if types.is_null(column.type):
        return column.cast(kind), []
    if types.is_string(kind):
        return read_text(column)
    return _read_hashes(column) if types.is_unsigned_integer(kind) else read_numbers(column, kind)


def readable_types(kind: pa.DataType) -> tuple[str, Callable[[pa.DataType], bool]]:
    """What a column of this kind may be written as: in words, and whether a type is."""
    if types.is_string(kind):
        return "text (string or binary)", _is_text
    if types.is_unsigned_integer(kind):
        return "16 hexadecimal digits or a 64-bit integer", lambda type_: _is_text(type_) or types.is_integer(type_)
    return "a number (integer, float, decimal or text)", lambda type_: _is_text(type_) or _is_number(type_)


def can_read(written: pa.DataType, kind: pa.DataType) -> bool:
    """Whether a column of the type `written` can be read as `kind` at all."""
    value_type = _value_type(written)
    return types.is_null(value_type) or readable_types(kind)[1](value_type)


def read_text(column: pa.ChunkedArray) -> Read:
    """Strings or bytes as strings[N] that are UTF-8."""
    chunks, faults, start = [], list[Fault](), 0
    for chunk in column.chunks:
        data = chunk.cast(pa.binary())
        try:
            chunks.append(data.cast(pa.string()))  # from bytes the cast checks them; to look for the bad ones is slow
        except pa.ArrowInvalid:
            values = data.to_pylist()
            texts = [None if value is None else _decoded(value) for value in values]
            bad = [row for row, value in enumerate(values) if value is not None and texts[row] is None]
            faults += [Fault(start + row, "invalid_utf8", values[row].decode("utf-8", "replace")) for row in bad]
            chunks.append(pa.array(texts, pa.string()))
        start += len(chunk)
    return pa.chunked_array(chunks, pa.string()), faults


def read_numbers(column: pa.ChunkedArray, kind: pa.DataType) -> Read:
    """Numbers, or text that holds them, as `kind`[N]: float32 for scores, int32 for sizes."""
    column = _without_dictionary(column)
    texts, faults = column, list[Fault]()
    if _is_text(column.type):
        texts, faults = read_text(column)
        column, more = _parsed(texts)
        faults += more
    numbers = column.cast(pa.float64(), safe=False)
    known = pc.is_finite(numbers)
    if types.is_integer(kind):
        known = pc.and_(known, pc.greater_equal(numbers, 0))
    numbers = pc.if_else(known, numbers, None)
    too_large = pc.fill_null(pc.greater_equal(pc.abs(numbers), LIMITS[kind]), False)
    rows = np.flatnonzero(too_large.to_numpy())
    faults += [Fault(int(row), "out_of_range", str(texts[int(row)].as_py())) for row in rows]
    return pc.if_else(too_large, None, numbers).cast(kind, safe=False), faults


def can_read_keys(written: pa.DataType) -> bool:
    """Whether 64-bit keys can be read from a column of this type; a float cannot hold them."""
    kind = _value_type(written)
    return types.is_null(kind) or types.is_integer(kind) or types.is_decimal(kind) or _is_text(kind)


def read_keys(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """64-bit keys, signed or not, as the same bits uint64[N]; NULL where there is none: what is no whole number of 64 bits."""
    column = _without_dictionary(column)
    if types.is_integer(column.type) or types.is_null(column.type):
        return column.cast(pa.int64() if types.is_signed_integer(column.type) else pa.uint64()).cast(pa.uint64(), safe=False)
    digits = pc.utf8_trim_whitespace(read_text(column)[0] if _is_text(column.type) else column.cast(pa.string()))
    keys = [_key(text) for text in digits.to_pylist()]
    return pa.chunked_array([pa.array(keys, pa.uint64())])


def _key(text: str | None) -> int | None:
    match = re.fullmatch(r"([+-]?[0-9]{1,20})(\.0*)?", text or "")
    key = int(match[1]) if match else None
    return key % 2**64 if key is not None and -(2**63) <= key < 2**64 else None


def _parsed(texts: pa.ChunkedArray) -> Read:
    texts = pc.utf8_trim_whitespace(texts)
    is_number = pc.match_substring_regex(texts, NUMBER)
    is_fault = pc.and_not(pc.invert(is_number), pc.match_substring_regex(texts, NOT_KNOWN))
    rows = np.flatnonzero(pc.fill_null(is_fault, False).to_numpy())
    faults = [Fault(int(row), "not_a_number", texts[int(row)].as_py()) for row in rows]
    return pc.if_else(is_number, texts, None).cast(pa.float64()), faults


def _read_hashes(column: pa.ChunkedArray) -> Read:
    if not _is_text(column.type):
        return column.cast(pa.uint64(), safe=False), []
    digits, faults = read_text(column)
    sound = pc.fill_null(pc.match_substring_regex(digits, "^[0-9a-fA-F]{16}$"), False)
    filled = pc.if_else(sound, digits, "0" * 16).to_pylist()
    numbers = np.frombuffer(binascii.unhexlify("".join(filled)), dtype=">u8").astype(np.uint64)
    return pa.chunked_array([pa.array(numbers, mask=~sound.to_numpy())]), faults


def _value_type(written: pa.DataType) -> pa.DataType:
    return written.value_type if types.is_dictionary(written) else written


def _without_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not types.is_dictionary(column.type):
        return column
    return pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], column.type.value_type)


def _is_text(kind: pa.DataType) -> bool:
    bytes_types = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    text_types = (types.is_string, types.is_large_string, types.is_string_view)
    return any(is_type(kind) for is_type in (*text_types, *bytes_types))


def _is_number(kind: pa.DataType) -> bool:
    return any(is_type(kind) for is_type in (types.is_integer, types.is_floating, types.is_decimal))


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
