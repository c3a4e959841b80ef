"""Embeddings of pictures, the family `embeddings`: a row per sample whose picture `score` embedded, on request.

All of a part lie one behind the other in its Parquet file, so that they are read as one memory map: nothing is loaded before it
is looked at. They are float16, or int8 with a scale a row, at half the space. Parquet's pages have less than 2 GiB; a part that
needs more (a million rows of more than 1 073 float16) has several, whose vectors are read into memory to be one array.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage

FAMILY = "embeddings"
FOOTER = "pairmill.embeddings"
DTYPES = ("float16", "int8")
INT8 = 127  # the largest number of a row of int8


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of N samples, all of one model, L2-normalised but for rounding.

    sample_ids  uint64[N], ascending
    vectors     float16[N, D] or int8[N, D]; a memory map where the manifest lies on this machine
    scales      float32[N], by which rows of int8 are multiplied; None of float16
    about       what they are of: `clip` (model, sha256 …) and `dtype`
    """

    sample_ids: np.ndarray
    vectors: np.ndarray
    scales: np.ndarray | None
    about: Mapping[str, Any]

    def floats(self, rows: Any = slice(None)) -> np.ndarray:
        """The chosen rows (a slice, or indices) as float32[M, D]."""
        vectors: np.ndarray = self.vectors[rows].astype(np.float32)
        return vectors if self.scales is None else vectors * self.scales[rows, None]


def read_embeddings(storage: Storage, part: Part) -> Embeddings | None:
    """The embeddings of a part; None where it has none."""
    path = part.path(FAMILY)
    if not storage.exists(path):
        return None
    data = pa.memory_map(storage.full(path)).read_buffer() if storage.is_local else pa.py_buffer(storage.read(path))
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        about = json.loads((file.schema_arrow.metadata or {}).get(FOOTER.encode(), b"{}"))
        table = file.read(["sample_id", "scale"])
        kind = file.schema_arrow.field("embedding").type
        dtype = np.dtype(about.get("dtype", DTYPES[0]))
        width = kind.byte_width // dtype.itemsize if pa.types.is_fixed_size_binary(kind) else 0
        blocks = [_block(data, file.metadata.row_group(number), dtype, width) for number in range(file.num_row_groups)]
    vectors = blocks[0] if len(blocks) == 1 else np.concatenate([np.empty((0, width), dtype), *blocks])
    scales = table["scale"].to_numpy() if dtype == np.int8 else None
    return Embeddings(table["sample_id"].to_numpy(), vectors, scales, about)


def _block(data: pa.Buffer, group: Any, dtype: np.dtype[Any], width: int) -> np.ndarray:
    """The vectors of a row group, a view of the file: they are the last bytes of its one page, which has no NULL."""
    (column,) = [group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == "embedding"]
    count = group.num_rows * width
    start = column.data_page_offset + column.total_compressed_size - count * dtype.itemsize
    return np.frombuffer(data, dtype, count, start).reshape(group.num_rows, width)


def encoded(vectors: np.ndarray, dtype: str) -> tuple[pa.FixedSizeBinaryArray, pa.Array]:
    """Vectors float32[N, D] as columns `embedding` and `scale`, of float16 or int8."""
    scales = pa.nulls(len(vectors), pa.float32())
    if dtype == "int8":
        largest = np.maximum(np.abs(vectors).max(axis=1, initial=0.0), np.finfo(np.float32).tiny)
        scale = (largest / INT8).astype(np.float32)
        vectors, scales = np.rint(vectors / scale[:, None]).clip(-INT8, INT8), pa.array(scale)
    packed = np.ascontiguousarray(vectors, dtype)
    kind = pa.binary(packed.shape[1] * packed.itemsize)
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(packed), [None, pa.py_buffer(packed)]), scales
