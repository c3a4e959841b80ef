"""Pictures of the whole corpus that show the same thing: the copies of kind `semantic`, by their embeddings.

    embeddings of a sample of rows ─k-means─▶ centroids;   embeddings ─by nearest centroid─▶ clusters ─▶ copies within each

As in SemDeDup, pictures of different clusters are not compared. There are about as many clusters as each has members, so that the
work grows as the power 1.5 of the rows. A cluster is in memory at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import isqrt
from typing import Any

import numpy as np
import pyarrow as pa

from filters.duplicates.semantic import centroids, nearest, rounded, similar_copies
from infra.compat.errors import RequestError
from pipelines.corpus.ranks import Ranks
from pipelines.corpus.sorting import FOLDER, Sorting
from pipelines.manifest.embeddings import FAMILY, read_embeddings
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import fingerprint_of, read_receipts
from pipelines.manifest.storage import Storage
from pipelines.runtime.external_sort import SortedFile, SortFailed, Source
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items
from sharding.order import mix

MOST_CLUSTERS = 1 << 16
SAMPLED, SAMPLED_A_CLUSTER = 1 << 18, 64  # rows that k-means sees, at most
BUCKET_ROWS = 1 << 18  # in memory at a time, 1 kB each of 512 float16
SALT = 0x5EDED


def embedded_sources(storage: Storage, parts: Sequence[Part]) -> list[Source]:
    """The parts that have `copy_keys` and embeddings; RequestError where there are none, or of several models."""
    keys, made = read_receipts(storage, "copy_keys", parts), read_receipts(storage, FAMILY, parts)
    if not made:
        raise RequestError(
            "dedup.kinds has semantic, which needs embeddings; run `pairmill score --set score.embeddings=float16` first"
        )
    if len(models := {str(dict(receipt.settings)) for receipt in made.values()}) > 1:
        raise RequestError(f"parts have embeddings of {len(models)} models; run `pairmill score --redo` to have them of one")
    return [
        Source(
            {"path": part.path("copy_keys"), "digest": keys[part].digest, "part": vars(part), "vectors": made[part].digest},
            made[part].rows_out,
        )
        for part in sorted(made)
        if part in keys
    ]


def semantic_copies(sorting: Sorting, sources: Sequence[Source], distance: float, ranks: Ranks) -> list[SortedFile]:
    """Files of rank, copy_of (a rank) and distance, 1 - cosine, given `embedded_sources`."""
    storage, rows = sorting.storage, sum(source.rows for source in sources)
    path = _means(sorting, sources, min(MOST_CLUSTERS, max(1, isqrt(rows))), rows)
    read = partial(_clustered, storage=storage, ranks=ranks, means=path)
    return sorting.by_key("semantic", read, sources, partial(_within_clusters, distance=distance), BUCKET_ROWS)


def _means(sorting: Sorting, sources: Sequence[Source], count: int, rows: int) -> str:
    """Computes the centroids, once; where they lie."""
    storage = sorting.storage
    about = {"depends_on": sorting.depends_on, "sources": [source.value for source in sources]}
    path = f"partial/{FOLDER}_means/{fingerprint_of(about)}.npy"
    share = min(1.0, min(SAMPLED, count * SAMPLED_A_CLUSTER) / max(1, rows))

    def work(item: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
        drawn = [_sampled(source, storage=storage, share=share) for source in item["sources"]]
        means = centroids(np.concatenate(drawn), count)
        storage.write(path, means.astype("<f4").tobytes())
        reporter(1)
        return {}

    if not storage.exists(path):
        items = [{"label": "centroids", "sources": [source.value for source in sources]}]
        for label, _, error in run_items(items, work, name=f"{FOLDER}_means", unit="clusterings", total=1):
            if error:
                raise SortFailed({f"{FOLDER} {label}": error})
    return path


def _sampled(source: Mapping[str, Any], *, storage: Storage, share: float) -> np.ndarray:
    """The embeddings of samples that a hash of their id draws, float32[M, D]; at least one of each part."""
    ids, vectors = _vectors(source, storage)
    draws = mix(ids, SALT)
    chosen = draws <= max(np.uint64(min(share, 1 - 2**-53) * 2**64), draws.min(initial=2**64 - 1))
    sampled: np.ndarray = vectors[chosen]
    return sampled


def _vectors(source: Mapping[str, Any], storage: Storage) -> tuple[np.ndarray, np.ndarray]:
    """Ids uint64[N] and rounded embeddings float32[N, D] of the samples of a part that are compared."""
    embeddings = read_embeddings(storage, Part(**source["part"]))
    assert embeddings is not None
    compared = storage.read_parquet(source["path"], ["sample_id"])["sample_id"].to_numpy()
    rows = np.flatnonzero(np.isin(embeddings.sample_ids, compared))
    return embeddings.sample_ids[rows], rounded(embeddings.floats(rows))


def _clustered(source: Mapping[str, Any], *, storage: Storage, ranks: Ranks, means: str) -> pa.Table:
    """Key (the cluster), rank and vector (float16) of the samples of a part."""
    ids, vectors = _vectors(source, storage)
    width = vectors.shape[1]
    found = np.frombuffer(storage.read(means), "<f4").reshape(-1, width)
    # Multiples of 2^-11 below 1 are exact in float16 too.
    packed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(2 * width), len(ids), [None, pa.py_buffer(np.ascontiguousarray(vectors, np.float16))]
    )
    keys = nearest(vectors, found).astype(np.uint64) * np.uint64((1 << 64) // (len(found) + 1))
    return pa.table({"key": keys, "rank": ranks.of_ids(ids), "vector": packed})


def _within_clusters(rows: pa.Table, *, distance: float) -> pa.Table:
    """rank, copy_of and distance of the copies among rows sorted by key."""
    keys, ranks, vectors = rows["key"].to_numpy(), rows["rank"].to_numpy(), rows["vector"].combine_chunks()
    width = vectors.type.byte_width // 2
    packed = np.frombuffer(vectors.buffers()[1], np.float16).reshape(-1, width)[vectors.offset : vectors.offset + len(vectors)]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))[: len(keys)]
    found = [(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.float32))]
    for start, end in zip(starts, np.append(starts[1:], len(keys)), strict=False):
        members = start + np.argsort(ranks[start:end])
        copies, copy_of, cosines = similar_copies(packed[members].astype(np.float32), 1 - distance)
        found.append((ranks[members[copies]], ranks[members[copy_of]], np.maximum(0, 1 - cosines)))
    names = ("rank", "copy_of", "distance")
    return pa.table({name: np.concatenate(values) for name, values in zip(names, zip(*found, strict=True), strict=True)})
