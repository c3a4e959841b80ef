"""Safetensors files, written tensor by tensor to a stream, and read in ranges of bytes from any file system.

The library's own functions want a whole file in memory, or a local one. The format: the length of a JSON header in 8 bytes, the
header with the type, shape and bytes of each tensor, and then the tensors. Source: github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO, NamedTuple

import torch
from torch import Tensor

from infra.compat.errors import RequestError
from sharding.ranges import Range, RangeReader

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
METADATA = "__metadata__"
LENGTH = 8  # bytes that hold the header's length
LARGEST_HEADER = 100_000_000  # bytes; the library reads no larger one


class Header(NamedTuple):
    """What a file holds: (type, count, first byte in the file) of each tensor by name, and its metadata."""

    tensors: dict[str, tuple[torch.dtype, int, int]]
    metadata: dict[str, str]
    end: int


def write_tensors(stream: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors [n] to a stream, one at a time, from any device."""
    header: dict[str, object] = {METADATA: dict(metadata)}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH)
    stream.write(len(text).to_bytes(LENGTH, "little") + text)
    for tensor in tensors.values():
        stream.write(memoryview(tensor.detach().cpu().contiguous().view(torch.uint8).numpy()))


def read_headers(reader: RangeReader, sizes: Mapping[str, int]) -> dict[str, Header]:
    """The headers of files, by path, whose sizes are given; RequestError names one that is not whole."""
    lengths = [_checked_length(path, data, sizes[path]) for path, data in _read(reader, [Range(p, 0, LENGTH) for p in sizes])]
    texts = _read(reader, [Range(path, LENGTH, end) for path, end in zip(sizes, lengths, strict=True)])
    return {path: _parsed(path, text, size) for (path, text), size in zip(texts, sizes.values(), strict=True)}


def _read(reader: RangeReader, ranges: Sequence[Range]) -> Iterable[tuple[str, bytes]]:
    for where, data in zip(ranges, reader.read(ranges), strict=True):
        if isinstance(data, Exception):
            raise broken(where.path, str(data)) from None
        yield where.path, data


def _checked_length(path: str, data: bytes, size: int) -> int:
    """Where the header ends."""
    end = LENGTH + int.from_bytes(data, "little")
    if end > min(size, LARGEST_HEADER):
        raise broken(path, "its header is longer than the file")
    return end


def _parsed(path: str, text: bytes, size: int) -> Header:
    try:
        entries = json.loads(text)
        metadata = entries.pop(METADATA)
        start = LENGTH + len(text)
        tensors = {
            name: (DTYPES[entry["dtype"]], entry["shape"][0], start + entry["data_offsets"][0]) for name, entry in entries.items()
        }
        end = start + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise broken(path, f"its header cannot be read: {type(error).__name__}") from None
    if end != size:
        raise broken(path, f"it has {size:,} bytes, not {end:,}")
    return Header(tensors, metadata, end)


def broken(path: str, cause: str) -> RequestError:
    """The error for a file of a saved state that cannot be read."""
    folder = path.rpartition("/")[0]
    return RequestError(f"{path} is broken ({cause}); delete {folder} to go on from the state before it")
