"""Text files for tests: rows in every format, compressed, and as `ingest` reads them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import struct
from pathlib import Path

import pyarrow as pa
import xxhash

from pipelines.manifest.parts import Part
from pipelines.sources import source_named
from pipelines.sources.files import inspect, read_rows
from pipelines.sources.samples import to_samples
from pipelines.sources.settings import IngestSettings

SETTINGS = IngestSettings()


def compressed(data: bytes, by: str) -> bytes:
    if by in ("zstd", "lz4"):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, by) as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes()
    return {"none": lambda d: d, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[by](data)


def written(rows: list[tuple[str, str]], kind: str) -> str:
    """The rows as one of the text formats."""
    if kind == "jsonl":
        return "".join(json.dumps({"caption": c, "n": 1, "url": u}, ensure_ascii=False) + "\n" for u, c in rows)
    if kind == "objects":
        return json.dumps([{"url": u, "caption": c} for u, c in rows])
    if kind == "arrays":
        return json.dumps({"image_urls": [u for u, _ in rows], "captions": [c for _, c in rows], "user_ids": []}, indent=1)
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter={"csv": ",", "semicolons": ";", "tabs": "\t", "bars": "|"}[kind])
    writer.writerows([["n", "url", "caption"], *[[str(n), u, c] for n, (u, c) in enumerate(rows)]])
    return out.getvalue()


def read(path: Path, source: str, part_rows: int = 10**6) -> list[tuple[str, str | None, str | None]]:
    """(reason, url, caption) of each row, in the order of the rows, read in parts of so many."""
    origin = source_named(source)
    total = inspect(str(path), origin, SETTINGS).file.rows
    rows: dict[int, tuple[str, str | None, str | None]] = {}
    for first in range(0, total, part_rows):
        count = min(part_rows, total - first)
        part = Part(source, 0, first, count)
        result = to_samples(read_rows(str(path), origin, first, count, SETTINGS), origin, part, SETTINGS)
        for row in result.table.select(["sample_id", "url", "caption"]).to_pylist():
            rows[row["sample_id"] & 0xFFFFFFFF] = ("", row["url"], row["caption"])
        for row in result.other_families["rejects"].to_pylist():
            rows[row["sample_id"] & 0xFFFFFFFF] = (row["reason"], None, row["raw"])
        assert result.counts["samples"] + result.counts["rejected"] == count
    assert sorted(rows) == list(range(total))
    return [rows[number] for number in range(total)]


def zstd_of_raw_blocks(data: bytes, *, checksum: bool) -> bytes:
    """A zstd frame that holds the data as it is, in blocks of 1000 bytes. Source: RFC 8878."""
    blocks = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    last = len(blocks) - 1
    written = b"".join((len(block) << 3 | (number == last)).to_bytes(3, "little") + block for number, block in enumerate(blocks))
    digest = struct.pack("<I", xxhash.xxh64_intdigest(data) & 0xFFFFFFFF) if checksum else b""
    return b"\x28\xb5\x2f\xfd" + bytes([0x04 * checksum, 0x58]) + written + digest


def lz4_of_raw_blocks(data: bytes, *, checksum: bool) -> bytes:
    """An LZ4 frame that holds the data as it is, in blocks of 1000 bytes. Source: the LZ4 frame format 1.6.1."""
    blocks = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    written = b"".join(struct.pack("<I", len(block) | 1 << 31) + block for block in blocks)
    descriptor = bytes([0x60 | 0x04 * checksum, 0x40])
    header = descriptor + bytes([xxhash.xxh32_intdigest(descriptor) >> 8 & 0xFF])
    digest = struct.pack("<I", xxhash.xxh32_intdigest(data)) if checksum else b""
    return b"\x04\x22\x4d\x18" + header + written + bytes(4) + digest
