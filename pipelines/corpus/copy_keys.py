"""What samples are compared by within the corpus: the family `copy_keys`, a row for every sample that is compared.

Of pictures and addresses only hashes of 64 bits are kept and shuffled: among two billion samples two differing ones share such a
hash by chance about once in ten corpora.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from filters.duplicates.hashes import PICTURE_HASH, caption_key, hash_rows
from pipelines.manifest.join import read_columns
from pipelines.manifest.parts import Part
from pipelines.manifest.pictures import STORED
from pipelines.manifest.selection import WITH_PICTURE, columns_of, mask_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.picture_chunks import decode_ahead, distinct_pictures
from pipelines.runtime.progress import Reporter
from pipelines.runtime.step import PartResult, Step

INPUTS = ("samples", "fetch", "stage1")
HASH_BATCH = 256  # pictures decoded at once to be hashed
URL = r"^\s*(?i:https?)://(?P<host>[^/?#\s]*)(?P<rest>[^#\s]*)"


def keys_step() -> Step:
    """The step that makes `copy_keys`."""
    return Step("copy_keys", INPUTS, lambda part: {"hash": PICTURE_HASH.column}, hash_part)


def candidates(storage: Storage, part: Part, columns: Sequence[str]) -> pa.Table:
    """sample_id and these columns of the samples of a part that are compared: downloaded, and kept by stage 1."""
    table = read_columns(storage, part, dict.fromkeys([*columns, *columns_of(WITH_PICTURE)]))
    return table.filter(mask_of(table, WITH_PICTURE)).select(["sample_id", *columns])


def hash_part(storage: Storage, part: Part, reporter: Reporter) -> PartResult:
    """`copy_keys` of a part, by sample_id."""
    hash_columns = [PICTURE_HASH.column] if PICTURE_HASH.column else STORED
    table = candidates(storage, part, ["caption", "url", "sha256", "pdq_quality", *hash_columns])
    words = pc.fill_null(caption_key(table["caption"]), "")
    keys = pa.table(
        {
            "sample_id": table["sample_id"],
            "phash": _picture_hashes(storage, table),
            "pdq_quality": table["pdq_quality"],
            "bytes": _hash(pc.fill_null(table["sha256"], ""), table["sha256"].is_null()),
            "caption": _hash(words, pc.equal(words, "")),  # no words are not the same words
            "url": _hash(normalised_urls(table["url"])),
        }
    )
    reporter(part.rows)
    return PartResult(keys, {"reason.no_hash": keys["phash"].null_count})


def normalised_urls(urls: pa.ChunkedArray) -> pa.ChunkedArray:
    """URLs without what does not change the picture: scheme, case of the host, its default port, fragment: string[N]."""
    parts = pc.extract_regex(urls, URL)
    host = pc.replace_substring_regex(pc.utf8_lower(pc.struct_field(parts, "host")), r":(80|443)?$", "")
    rest = pc.replace_substring_regex(pc.struct_field(parts, "rest"), r"^/?", "/")
    return pc.coalesce(pc.binary_join_element_wise(host, rest, ""), urls)


def _hash(column: pa.ChunkedArray, mask: pa.ChunkedArray | None = None) -> pa.Array:
    """The hash of each value, uint64[N], NULL where `mask` bool[N]."""
    return pa.array(hash_rows(xxhash.xxh3_64_intdigest, "", column), mask=None if mask is None else mask.to_numpy())


def _picture_hashes(storage: Storage, table: pa.Table) -> pa.Array | pa.ChunkedArray:
    """The hash of each row's picture, uint64[N]: of the manifest, or else of the stored pictures. NULL where there is none."""
    if PICTURE_HASH.column:
        return table[PICTURE_HASH.column]
    pictures, picture_of = distinct_pictures(table)
    hashes, is_known = np.zeros(len(pictures), np.uint64), np.zeros(len(pictures), bool)
    for found in decode_ahead(storage, pictures, HASH_BATCH):
        if found.images:
            hashes[found.indices], is_known[found.indices] = PICTURE_HASH.of_images(found.images), True
    rows = np.asarray(picture_of, dtype=np.int64)
    return pa.array(hashes[rows], mask=~is_known[rows])
