"""An evaluation set as one file, read by memory map: hashes, names and provenance of its items, 16 million in less than 1 GB.

A safetensors file (a JSON header, then arrays end to end), which many programs read. Of N items, each with K rows of hashes, of
its picture and of K - 1 variants of that (`variants.py`):

    phash        U64[N K]    64-bit perceptual hash, where the set has one
    pdq          U64[N K, 4] PDQ, where the set has it: its 32 bytes as published
    pdq_quality  U8[N K]     0 … 100
    embeddings   F16[N, D]   of the pictures as they are, L2-normalised, where the set was embedded
    descriptors  F16[N, 128] of the pictures as they are, and
    squares      U8[N, 4608] these as small squares (`pipelines.images.small`), where changed copies are to be found by them
    looks        U8[N, 1536] these as smaller ones, by which what a hash matched is confirmed, where the set is not too large
    name_ends    U64[B]      where each block of names ends in `names`
    names        U8[…]       blocks of 1024 names, each compressed by zlib, NUL between names

`__metadata__` holds as JSON `items`, the names of `variants`, the `digests` of the arrays, the `provenance`, how many items are
`left_out` because they cannot be read, the first of these with the cause (`faults`), and the `embedder` that made the embeddings.
Other arrays are left alone.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from filters.duplicates.descriptors import SIZE
from infra.compat.errors import RequestError
from pipelines.images.small import PACKED, PACKED_LOOK
from pipelines.manifest.receipts import fingerprint_of

ENDING = ".evalset"
OF_ITEMS = ("embeddings", "descriptors", "squares", "looks")  # a row an item, none for its variants
EMBEDDINGS, DESCRIPTORS, SQUARES, LOOKS = OF_ITEMS
FORMAT = "pairmill-evalset-1"
BLOCK = 1024  # names compressed together
NAMED = 100  # items that are left out
LONGEST_HEADER = 1 << 20  # bytes
DTYPES: dict[str, np.dtype[Any]] = {"U64": np.dtype("<u8"), "U8": np.dtype("u1"), "F16": np.dtype("<f2")}
ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "phash": ("U64", ()),
    "pdq": ("U64", (4,)),
    "name_ends": ("U64", ()),
    EMBEDDINGS: ("F16", (-1,)),  # as long as the model's
    DESCRIPTORS: ("F16", (SIZE,)),
    SQUARES: ("U8", (PACKED,)),
    LOOKS: ("U8", (PACKED_LOOK,)),
    "pdq_quality": ("U8", ()),
    "names": ("U8", ()),
}
HASHES = ("phash", "pdq")
ITEMS = pa.schema([("item", pa.string()), ("phash", pa.uint64()), ("pdq", pa.binary(32)), ("pdq_quality", pa.uint8())])


@dataclass(frozen=True)
class EvalFile:
    """An opened file; its arrays are mapped, None where it has none. `digest` is that of the items, hashes and names.

    Row r of the hashes is of item r // K: its picture as it is where r % K is 0, else the variant before that in `variants`.
    """

    path: Path
    digest: str
    array_digests: Mapping[str, str]
    items: int
    left_out: int
    faults: Mapping[str, str]
    provenance: Mapping[str, Any]
    variants: Sequence[str]
    embedder: Mapping[str, Any] | None
    embeddings: np.ndarray | None
    descriptors: np.ndarray | None
    squares: np.ndarray | None
    looks: np.ndarray | None
    phash: np.ndarray | None
    pdq: np.ndarray | None
    pdq_quality: np.ndarray | None
    name_ends: np.ndarray
    compressed_names: np.ndarray

    def names(self, items: Sequence[int]) -> list[str]:
        """The names of items; blocks of names are unpacked as they are needed."""
        blocks: dict[int, list[bytes]] = {}
        for block in {item // BLOCK for item in items}:
            start, end = (self.name_ends[block - 1] if block else 0), self.name_ends[block]
            blocks[block] = zlib.decompress(self.compressed_names[int(start) : int(end)].tobytes()).split(b"\0")
        return [blocks[item // BLOCK][item % BLOCK].decode() for item in items]


def write_evalset(
    path: Path,
    tables: Iterable[pa.Table],
    provenance: Mapping[str, Any],
    variants: Sequence[str] = (),
    embedder: Mapping[str, Any] | None = None,
) -> None:
    """Writes items: tables with a column `fault`, NULL for sound items, and those of `ITEMS` that the set has.

    Each item has a row, then one for each of its variants. Columns of `OF_ITEMS` are binary, and NULL for variants; an `embedder`
    made the `embeddings`.

    The same items give the same bytes. RequestError where no item is sound, or tables have other columns than those before.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        arrays, names = dict[str, _GrowingArray](), _Names(Path(folder))
        items, left_out, faults, columns, rows_each = 0, 0, dict[str, str](), list[str](), 1 + len(variants)
        for table in tables:
            columns = columns or table.column_names
            if table.column_names != columns:
                raise RequestError("lists of 64-bit hashes and of PDQ are mixed; index each kind as a set of its own")
            sound, faulty = (table.filter(mask(table["fault"])) for mask in (pc.is_null, pc.is_valid))
            for name in set(columns) & (set(ARRAYS) - set(OF_ITEMS)):
                arrays.setdefault(name, _GrowingArray(Path(folder) / name)).append(_bytes_of(sound[name].combine_chunks()))
            sound, faulty = (table.take(pa.array(range(0, len(table), rows_each), pa.int64())) for table in (sound, faulty))
            names.append(sound["item"].to_pylist())
            for name in set(columns) & set(OF_ITEMS):
                arrays.setdefault(name, _GrowingArray(Path(folder) / name)).append(b"".join(sound[name].to_pylist()))
            items, left_out = items + len(sound), left_out + len(faulty)
            if len(faults) < NAMED:
                faults |= zip(faulty["item"].to_pylist(), faulty["fault"].to_pylist(), strict=True)
        if not items:
            cause = next((f"{item} {fault}" for item, fault in faults.items()), "it has no items")
            raise RequestError(f"no item of the set can be read ({cause}); name a set with pictures or hashes")
        arrays |= names.finished()
        arrays = {name: arrays[name] for name in ARRAYS if name in arrays}
        metadata = {
            "provenance": provenance,
            "variants": list(variants),
            "embedder": embedder,
            "left_out": left_out,
            "faults": dict(list(faults.items())[:NAMED]),
        }
        with path.open("wb") as handle:
            handle.write(_header(arrays, items, metadata))
            for array in arrays.values():
                array.copy_to(handle)


def open_evalset(path: Path) -> EvalFile:
    """The file at a local path; RequestError where it is none, or ends early."""
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(length)) if length <= LONGEST_HEADER else {}
        texts = header.pop("__metadata__")
        if texts.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        metadata = {name: json.loads(text) for name, text in texts.items()}
        arrays = {name: _mapped(path, 8 + length, header[name]) for name in ARRAYS if name in header}
        items, digests, variants = metadata["items"], metadata["digests"], metadata.get("variants", [])
        hashes = [arrays[name] for name in (*HASHES, "pdq_quality") if name in arrays]
        if any(len(array) != items * (1 + len(variants)) for array in hashes) or not set(HASHES) & set(arrays):
            raise ValueError(f"its arrays do not have {items} items")
        if len(arrays["name_ends"]) != -(-items // BLOCK) or "names" not in arrays:
            raise ValueError(f"it has no names of {items} items")
        described = {name: metadata[name] for name in ("items", "left_out", "faults", "provenance")}
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise RequestError(
            f"{path} is no evaluation set, or a broken one ({cause}); delete it and run the job that wrote it again"
        ) from None
    return EvalFile(
        path=path,
        digest=fingerprint_of({**digests, "variants": variants} if variants else digests),
        array_digests=digests,
        **described,
        variants=variants,
        embedder=metadata.get("embedder"),
        embeddings=arrays.get(EMBEDDINGS),
        descriptors=arrays.get(DESCRIPTORS),
        squares=arrays.get(SQUARES),
        looks=arrays.get(LOOKS),
        phash=arrays.get("phash"),
        pdq=arrays.get("pdq"),
        pdq_quality=arrays.get("pdq_quality"),
        name_ends=arrays["name_ends"],
        compressed_names=arrays["names"],
    )


def _bytes_of(column: pa.Array) -> bytes:
    """The values of a column of fixed width without NULL, little-endian."""
    if not len(column):
        return b""
    width = column.type.bit_width // 8
    data: bytes = column.buffers()[1][column.offset * width : (column.offset + len(column)) * width].to_pybytes()
    return data


def _mapped(path: Path, data_start: int, entry: Mapping[str, Any]) -> np.ndarray:
    """One array of a safetensors file, mapped; ValueError where the file is shorter."""
    dtype, shape = DTYPES[entry["dtype"]], tuple[int, ...](entry["shape"])
    start, end = entry["data_offsets"]
    if end - start != dtype.itemsize * int(np.prod(shape)) or path.stat().st_size < data_start + end:
        raise ValueError("it ends early")
    if start == end:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", data_start + start, shape)


def _header(arrays: Mapping[str, _GrowingArray], items: int, metadata: Mapping[str, Any]) -> bytes:
    metadata = {**metadata, "items": items, "digests": {name: array.digest.hexdigest() for name, array in arrays.items()}}
    texts = {name: json.dumps(value, sort_keys=True) for name, value in metadata.items()}  # safetensors takes text alone
    document: dict[str, Any] = {"__metadata__": {"format": FORMAT, **texts}}
    end = 0
    for name, array in arrays.items():
        dtype, row = ARRAYS[name]
        row = (array.size // (DTYPES[dtype].itemsize * metadata["items"]),) if name == EMBEDDINGS else row
        rows = array.size // (DTYPES[dtype].itemsize * int(np.prod(row)))
        document[name] = {"dtype": dtype, "shape": [rows, *row], "data_offsets": [end, end + array.size]}
        end += array.size
    text = json.dumps(document, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)  # so that numbers lie at multiples of their size
    return len(text).to_bytes(8, "little") + text


class _GrowingArray:
    """An array in a temporary file, as it grows."""

    def __init__(self, path: Path) -> None:
        self.path, self.size, self.digest = path, 0, xxhash.xxh3_128()
        path.touch()

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as handle:
            handle.write(data)
        self.size += len(data)
        self.digest.update(data)

    def copy_to(self, target: BinaryIO) -> None:
        with self.path.open("rb") as handle:
            shutil.copyfileobj(handle, target, 1 << 24)


class _Names:
    """The names of items, compressed block by block as they come."""

    def __init__(self, folder: Path) -> None:
        self.blocks, self.ends = _GrowingArray(folder / "names"), _GrowingArray(folder / "name_ends")
        self.waiting = list[bytes]()

    def append(self, names: Sequence[str]) -> None:
        self.waiting += [name.replace("\0", " ").encode() for name in names]
        while len(self.waiting) >= BLOCK:
            self._flush(BLOCK)

    def finished(self) -> dict[str, _GrowingArray]:
        if self.waiting:
            self._flush(len(self.waiting))
        return {"names": self.blocks, "name_ends": self.ends}

    def _flush(self, count: int) -> None:
        self.blocks.append(zlib.compress(b"\0".join(self.waiting[:count])))
        self.ends.append(np.uint64(self.blocks.size).tobytes())
        del self.waiting[:count]
