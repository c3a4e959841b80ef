"""Families and their columns: the contract of the manifest. Types may widen, names do not change."""

from __future__ import annotations

import pyarrow as pa

# What speaks for and against a caption (`filters.quality`).
QUALITY_PARTS = ("completeness", "fluency", "information", "style", "repetition")

FAMILIES: dict[str, pa.Schema] = {
    "samples": pa.schema(
        [
            ("sample_id", pa.uint64()),
            ("source", pa.string()),
            ("url", pa.string()),
            ("caption", pa.string()),
            ("language", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("caption_chars", pa.int32()),
            ("caption_words", pa.int32()),
            ("pair_hash", pa.uint64()),
            ("license", pa.string()),
            ("clip_similarity", pa.float32()),
            ("watermark", pa.float32()),
            ("unsafe", pa.float32()),
            ("aesthetic", pa.float32()),
            ("alt_text", pa.string()),  # the page's own, where the caption is another
            ("image_phash", pa.uint64()),  # the publisher's, where there is one; ours is in fetch
            ("image_hash", pa.string()),  # md5 or sha256 of the bytes, as published
        ]
    ),
    "tags": pa.schema(
        [
            ("sample_id", pa.uint64()),
            ("watermark", pa.float32()),
            ("unsafe", pa.float32()),
            ("aesthetic", pa.float32()),
        ]
    ),
    "rejects": pa.schema([("sample_id", pa.uint64()), ("reason", pa.string()), ("raw", pa.string())]),
    "fetch": pa.schema(
        [
            ("sample_id", pa.uint64()),
            ("status", pa.string()),
            ("error", pa.string()),
            ("http_status", pa.int32()),
            ("bytes", pa.int64()),
            ("mime", pa.string()),
            ("sha256", pa.string()),
            ("phash", pa.uint64()),
            ("pdq", pa.string()),  # PDQ of the picture's looks, 64 hex digits; NULL where `fetch.pdq` is off
            ("pdq_quality", pa.int32()),  # 0 … 100; below 50 the picture is too flat for its PDQ to tell
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("tar", pa.string()),
            ("offset", pa.int64()),
            ("length", pa.int64()),
            ("stored_checksum", pa.uint64()),  # of the bytes in the tar: the first 64 bits of their sha256
            ("tar_stamp", pa.string()),  # of a tar that we did not write: changes when it is written again
        ]
    ),
    "scores": pa.schema(
        [
            ("sample_id", pa.uint64()),
            ("clip_similarity", pa.float32()),
            ("watermark", pa.float32()),
            ("unsafe", pa.float32()),
            ("aesthetic", pa.float32()),
            ("error", pa.string()),  # why the picture has no scores: undecodable, changed or missing
        ]
    ),
    "embeddings": pa.schema(
        [
            ("sample_id", pa.uint64()),
            ("embedding", pa.binary()),  # of one length in a manifest: see `pipelines.manifest.embeddings`
            ("scale", pa.float32()),  # of int8: its numbers are multiplied by it; NULL of float16
        ]
    ),
    "stage1": pa.schema([("sample_id", pa.uint64()), ("keep", pa.bool_()), ("reasons", pa.list_(pa.string()))]),
    "stage2": pa.schema(
        [
            ("sample_id", pa.uint64()),
            ("keep", pa.bool_()),
            ("reasons", pa.list_(pa.string())),
            ("caption_repaired", pa.string()),  # what the rules judged and export takes; NULL: the caption as published
            ("language", pa.string()),  # as identified from the caption; the publisher's is in samples
            ("language_confidence", pa.float32()),
            ("caption_pictures", pa.int32()),  # how many pictures of the corpus have the caption; NULL: three at most
            ("quality", pa.float32()),  # 0 … 1: how likely the caption says what the picture shows; 0 where another rule drops it
            ("quality_parts", pa.struct([(part, pa.float32()) for part in QUALITY_PARTS])),  # each 0 … 1
        ]
    ),
    "dedup": pa.schema(
        [
            ("sample_id", pa.uint64()),
            ("duplicate_of", pa.uint64()),  # the sample for which it is dropped
            ("duplicate_kind", pa.string()),  # in which way it is a copy of that: bytes, pixels, pair, url or semantic
            ("bytes_copy_of", pa.uint64()),  # a sample with the same file, dropped for it or not; so are the next
            ("pixels_copy_of", pa.uint64()),  # whose picture looks the same
            ("pixels_distance", pa.int32()),  # bits between the two hashes
            ("pair_copy_of", pa.uint64()),  # with the same words and much the same picture
            ("pair_distance", pa.int32()),
            ("url_copy_of", pa.uint64()),  # with the same address
            ("semantic_copy_of", pa.uint64()),  # whose picture shows the same thing
            ("semantic_distance", pa.float32()),  # 1 - cosine of the embeddings of the two
            ("eval_match", pa.string()),
            ("eval_item", pa.string()),
            ("variant", pa.string()),  # the changed copy of the item that matched, such as mirrored; NULL: the item as it is
            (
                "tier",
                pa.string(),
            ),  # by what it matched: the hashes pdq, both, phash, published (by the source), agreement, or embedding
            ("cosine", pa.float32()),  # of the embeddings of the picture and the item, where it matched by these
            ("agreement", pa.float32()),  # how much picture and item agree, laid over each other, where they were
            ("distance", pa.int32()),  # bits between the hashes of an item, or of the sample that is copied
            ("error", pa.string()),  # why the picture could not be looked at: undecodable, changed or missing
        ]
    ),
    "captions": pa.schema(
        [
            ("sample_id", pa.uint64()),
            ("synthetic_caption", pa.string()),
            ("model", pa.string()),
            ("prompt", pa.string()),
            ("tokens", pa.int32()),
            ("finish_reason", pa.string()),
        ]
    ),
    "shards": pa.schema(
        [
            ("sample_id", pa.uint64()),
            ("shard", pa.string()),
            ("position", pa.int32()),
            ("split", pa.string()),
            ("error", pa.string()),
        ]
    ),
}

# Families that take columns beyond those above, all of one type: a score of one's own is a column of `scores`.
OPEN = {"scores": pa.float32()}

# Intermediate results of a step that has several phases: kept beside the manifest, not in it.
INTERNAL: dict[str, pa.Schema] = {
    "export": pa.schema(
        [
            ("order", pa.uint64()),
            ("sample_id", pa.uint64()),
            ("repeat", pa.int32()),
            ("caption", pa.string()),
            ("synthetic", pa.bool_()),
            ("repaired", pa.bool_()),
            ("url", pa.string()),
            ("source", pa.string()),
            ("language", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("tar", pa.string()),
            ("offset", pa.int64()),
            ("length", pa.int64()),
            ("stored_checksum", pa.uint64()),
            ("mime", pa.string()),
        ]
    ),
    "tag_keys": pa.schema([("key", pa.uint64()), ("sample_id", pa.uint64())]),
    "caption_keys": pa.schema([("key", pa.uint64()), ("picture", pa.uint64()), ("sample_id", pa.uint64())]),
    "caption_counts": pa.schema([("sample_id", pa.uint64()), ("pictures", pa.int32())]),
    "copy_keys": pa.schema(
        [
            ("sample_id", pa.uint64()),
            ("phash", pa.uint64()),
            ("pdq_quality", pa.int32()),
            ("bytes", pa.uint64()),
            ("caption", pa.uint64()),
            ("url", pa.uint64()),
        ]
    ),
    "eval_matches": pa.schema(
        [
            ("sample_id", pa.uint64()),
            ("set", pa.string()),
            ("item", pa.string()),
            ("variant", pa.string()),
            ("tier", pa.string()),
            ("distance", pa.int32()),
            ("cosine", pa.float32()),
            ("agreement", pa.float32()),
            ("error", pa.string()),
        ]
    ),
}


def schema_of(family: str) -> pa.Schema:
    """The columns of a family; a named export (`shards_<name>`) has those of `shards`."""
    kind = family.partition("_")[0] if family.startswith(("shards_", "export_")) else family
    return INTERNAL.get(kind) or FAMILIES[kind]


def is_family(name: str) -> bool:
    """Whether a folder of the manifest with this name is one of ours."""
    try:
        schema_of(name)
    except KeyError:
        return False
    return True


def field_of(family: str, column: str) -> pa.Field:
    """A column of a family; KeyError for one that it cannot have."""
    schema = schema_of(family)
    return pa.field(column, OPEN[family]) if family in OPEN and column not in schema.names else schema.field(column)


def is_internal(family: str) -> bool:
    """Whether the family holds intermediate results and is no part of the manifest."""
    return family.startswith("export_") or family in INTERNAL


def conform(table: pa.Table, family: str) -> pa.Table:
    """`table` with exactly the family's columns, in order and type; columns it lacks become NULL.

    The further columns of an open family follow in the order of their names.
    """
    more = sorted(set(table.column_names) - set(schema_of(family).names)) if family in OPEN else []
    fields = [field_of(family, name) for name in (*schema_of(family).names, *more)]
    written = set(table.column_names)
    columns = [as_type(table[f.name], f.type) if f.name in written else pa.nulls(len(table), f.type) for f in fields]
    return pa.table(columns, names=[field.name for field in fields]).replace_schema_metadata(table.schema.metadata)


def as_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column in a family's type; binary of a fixed length stays so."""
    return column if pa.types.is_binary(kind) and pa.types.is_fixed_size_binary(column.type) else column.cast(kind)
