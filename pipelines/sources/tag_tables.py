"""Published tag tables: parquet with LAION's hash and one or more scores.

A row whose hash is NULL, or with a value that cannot be read, is skipped and counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from infra.compat.errors import RequestError
from infra.compat.files import file_system, open_file
from pipelines.manifest.parts import SourceFile
from pipelines.manifest.tables import FAMILIES
from pipelines.sources.files import stamp_of
from pipelines.sources.laion import SCORE_NAMES, SCORES
from pipelines.sources.parquet_files import naming_broken
from pipelines.sources.published import can_read, can_read_keys, read_keys, read_numbers
from pipelines.sources.source import Column, first_column

HASH = "hash"
TAGS = [name for name in FAMILIES["tags"].names if name != "sample_id"]
SKIPPED = "pairmill.skipped_rows"  # in the metadata of a sorted table


def inspect_tags(uri: str) -> SourceFile:
    """A tag table's file; RequestError when it is none."""
    fs, path = file_system(uri)
    info = fs.info(path)
    try:
        with fs.open(path, "rb") as handle:
            parquet = pq.ParquetFile(handle)
    except pa.ArrowInvalid as error:
        raise RequestError(f"--join-tags {uri} is no parquet file ({str(error).splitlines()[0]}); check the file") from None
    schema = parquet.schema_arrow
    if first_column(HASH, schema.names) is None or not scores_in(schema.names):
        needed = f"{HASH} and one of {', '.join(name for name, (ours, _) in SCORES.items() if ours in TAGS)}"
        raise RequestError(f"--join-tags {uri} has columns {', '.join(schema.names)}, not {needed}; check the file")
    _require_types(schema, uri)
    return SourceFile(uri, 0, parquet.metadata.num_rows, info["size"], stamp_of(info))


def _require_types(schema: pa.Schema, uri: str) -> None:
    hash_type = schema.field(_hash_in(schema.names)).type
    if not can_read_keys(hash_type):
        lost = ", which cannot hold 64 bits" if pa.types.is_floating(hash_type) else ""
        raise RequestError(
            f"--join-tags {uri}: its column {HASH} is {hash_type}{lost}; write it as int64, uint64, decimal or text of digits"
        )
    for in_file, _ in scores_in(schema.names).values():
        written = schema.field(in_file).type
        if not can_read(written, pa.float32()):
            raise RequestError(f"--join-tags {uri}: its column {in_file} is {written}, not a number; write it as float32")


def sorted_tags(uri: str) -> pa.Table:
    """`key` (uint64) and the scores of a tag table, ordered by key; its metadata counts the rows that cannot be read.

    These are rows without a hash, and those with a value that is none; ValueError when there is no other.
    """
    with naming_broken(uri), open_file(uri) as handle:
        parquet = pq.ParquetFile(handle, page_checksum_verification=True)
        names = parquet.schema_arrow.names
        in_file = {HASH: _hash_in(names), **{ours: column.in_file for ours, column in scores_in(names).items()}}
        table = parquet.read(list(in_file.values()))
    keys = read_keys(table[in_file.pop(HASH)])
    columns, is_sound = {name: pa.nulls(len(table), pa.float32()) for name in TAGS}, pc.is_valid(keys).to_numpy()
    for ours, theirs in in_file.items():
        columns[ours], faults = read_numbers(table[theirs], pa.float32())
        is_sound[[fault.row for fault in faults]] = False
    if len(table) and not is_sound.any():
        raise ValueError(f"none of its {len(table)} rows has a {HASH} and scores that can be read")
    sound = pa.table({"key": keys, **columns}).filter(pa.array(is_sound)).sort_by("key")
    return sound.replace_schema_metadata({SKIPPED: str(len(table) - len(sound))})


def _hash_in(names: Sequence[str]) -> str:
    column = first_column(HASH, names)
    assert column is not None  # inspect_tags refuses other tables
    return column.in_file


def scores_in(names: Sequence[str]) -> dict[str, Column]:
    """Our name → the column, of the scores a table has."""
    columns = {ours: first_column(theirs, names) for ours, theirs in SCORE_NAMES.items() if ours in TAGS}
    return {ours: column for ours, column in columns.items() if column is not None}
