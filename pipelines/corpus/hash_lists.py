"""Published lists of picture hashes: csv, tsv or Parquet with a name and a hash in each row.

The 64-bit hash is DCT's, as ImageHash's `phash` and COYO's, the 256-bit one PDQ, both in hex; a column `hash` may hold either. A
list may have both.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from filters.duplicates.hashes import without_brightness
from infra.compat.errors import RequestError
from infra.compat.files import open_file
from pipelines.sources.parquet_files import naming_broken
from pipelines.sources.published import read_text, read_values

ENDINGS = (".csv", ".tsv", ".txt")
NAMES = ("item", "name", "path", "filename", "file_name", "key", "__key__", "image_id", "id", "url")  # the first that there is
COLUMNS = {"phash": ("phash", "image_phash", "hash"), "pdq": ("pdq", "pdq_hash", "hash")}
HEX_DIGITS = {"phash": 16, "pdq": 64}


def require_hashes(columns: Sequence[str], file: str) -> None:
    """RequestError where no column of a file holds hashes or pictures."""
    known = sorted({name for names in COLUMNS.values() for name in names})
    if not set(columns) & set(known):
        raise RequestError(
            f"{file} has neither pictures nor hashes; its columns are {', '.join(columns)}, hashes are in {', '.join(known)}"
        )


def read_hashes(file: str) -> pa.Table:
    """item, phash and pdq of a list, those of the two hashes that it has; NULL where a row has none that can be read."""
    table = _read(file)
    require_hashes(table.column_names, file)
    columns = {}
    for kind, names in COLUMNS.items():
        name = next((name for name in names if name in table.column_names), None)
        if name is not None and (name != "hash" or _digits(table[name]) == HEX_DIGITS[kind]):
            columns[kind] = _read_phash(table[name]) if kind == "phash" else _read_pdq(table[name])
    if not columns:
        raise RequestError(f"{file}: the column hash holds neither 16 hex digits nor 64; name a list of 64-bit or PDQ hashes")
    name = next((name for name in NAMES if name in table.column_names), None)
    rows = pa.array(map(str, range(len(table))), pa.string())
    items = pc.coalesce(table[name].cast(pa.string()), rows) if name else rows
    return pa.table({"item": items, **columns})


def _read(file: str) -> pa.Table:
    with open_file(file) as handle:
        if file.lower().endswith(".parquet"):
            with naming_broken(file):
                return pq.ParquetFile(handle, page_checksum_verification=True).read()
        text = dict.fromkeys([*NAMES, *(name for names in COLUMNS.values() for name in names)], pa.string())
        delimiter = "\t" if file.lower().endswith(".tsv") else ","
        try:
            return pyarrow.csv.read_csv(
                handle,
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
                convert_options=pyarrow.csv.ConvertOptions(column_types=text),
            )
        except pa.ArrowInvalid as error:
            cause = str(error).splitlines()[0]
            raise RequestError(f"{file} is no list of hashes ({cause}); name a csv or tsv with a header") from None


def _digits(column: pa.ChunkedArray) -> int:
    """How long the first hash of a column of text is; 16 for whole numbers, which are 64-bit hashes."""
    if pa.types.is_integer(column.type):
        return HEX_DIGITS["phash"]
    first = next((value for value in column.slice(0, 1000).to_pylist() if value), "")
    return len(first)


def _read_phash(column: pa.ChunkedArray) -> pa.ChunkedArray:
    hashes = read_values(column, pa.uint64())[0]
    return without_brightness(hashes)


def _read_pdq(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_fixed_size_binary(column.type) and column.type.byte_width == HEX_DIGITS["pdq"] // 2:
        return column
    digits = read_text(column)[0]
    sound = pc.fill_null(pc.match_substring_regex(digits, f"^[0-9a-fA-F]{{{HEX_DIGITS['pdq']}}}$"), False)
    data = binascii.unhexlify("".join(pc.if_else(sound, digits, "0" * HEX_DIGITS["pdq"]).to_pylist()))
    hashes = pa.Array.from_buffers(pa.binary(32), len(digits), [None, pa.py_buffer(data)])
    return pa.chunked_array([pc.if_else(pa.array(np.asarray(sound)), hashes, pa.scalar(None, pa.binary(32)))])
