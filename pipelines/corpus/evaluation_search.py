"""Which items of evaluation sets the pictures of a part show, by their hashes alone.

The files of sets and the tables for searching them are mapped, so that all workers of a machine share them: a file elsewhere is
copied once to the machine's cache folder, and its tables, which are larger than the file, are made there once.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from filters.duplicates.hamming import TABLES, HammingIndex, build, key_bits, search, tabulate
from infra.compat.errors import RequestError
from infra.compat.files import file_system
from infra.compat.paths import cache_folder
from pipelines.corpus.evaluation_file import ENDING, EvalFile, open_evalset
from pipelines.corpus.settings import DedupSettings
from pipelines.manifest.receipts import fingerprint_of
from pipelines.sources.files import stamp_of

TIERS = ("pdq", "both", "phash", "published")  # the hashes by which a picture is compared, the best first
HASHES = ("pdq", "pdq_quality", "phash", "published")  # what decides which items a sample matches
SMALL = 1 << 16  # items: their tables are made again as fast as they are read


@dataclass(frozen=True)
class EvalSet:
    """A named set: the URI of its file, the digest of its content, and the items that could not be read, with the cause."""

    name: str
    uri: str
    digest: str
    faults: Mapping[str, str] = field(default_factory=dict, compare=False)


def open_set(name: str, uri: str) -> EvalSet:
    """The set in a file; RequestError where there is none, or a damaged one."""
    try:
        file = local_file(uri)
    except FileNotFoundError:
        raise RequestError(f"evaluation set {name}: no file {uri}; write it by `pairmill index-evalset {name} URI`") from None
    require_sound(file)
    return EvalSet(name, uri, file.digest)


def require_sound(file: EvalFile) -> None:
    """RequestError where an array of a file is not what was written; a file is read once for that."""
    _require_sound(file.path, file.path.stat().st_mtime_ns)


@lru_cache(16)
def _require_sound(path: Path, changed: int) -> None:
    file = open_evalset(path)
    for name in file.array_digests:
        _require_digest(
            path, name, getattr(file, "compressed_names" if name == "names" else name, None), file.array_digests[name]
        )


def _require_digest(path: Path, name: str, array: np.ndarray | None, digest: str) -> None:
    if array is None or xxhash.xxh3_128_hexdigest(array.data) != digest:
        raise RequestError(
            f"{path} is damaged: its array {name} has another checksum; delete it and run the job that wrote it again"
        )


def local_file(uri: str) -> EvalFile:
    """The file of a set, copied to the cache folder where it lies elsewhere; FileNotFoundError where there is none."""
    fs, path = file_system(uri)
    info = fs.info(path)
    stamp = fingerprint_of({"uri": uri, "size": info["size"], "stamp": stamp_of(info)})
    if "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        return _opened(Path(path), stamp)
    copy = _cache() / f"{stamp}{ENDING}"
    if not copy.exists():
        temporary = copy.with_name(uuid.uuid4().hex)
        fs.get_file(path, str(temporary))
        temporary.replace(copy)
    return _opened(copy, stamp)


class Candidate(NamedTuple):
    """An item that hashes match: the row of these, whether by a variant of the item, the number of the tier in `TIERS`, the
    distance, the number of the set, and the row of the set's hashes.
    """

    row: int
    by_variant: int
    tier: int
    distance: int
    set: int
    hashed: int


class Candidates(NamedTuple):
    """The items that samples match, once for all samples of the same hashes: a placeholder on a thousand pages is matched once.

    hashes_of  int64[N]: the number of each sample's hashes among the G distinct ones
    starts     int64[G + 1]: where in `items` those of each distinct hashes begin
    items      int64[P, 6]: rows of `Candidate`, whose `row` is the number of the hashes
    """

    hashes_of: np.ndarray
    starts: np.ndarray
    items: np.ndarray

    def of(self, row: int) -> np.ndarray:
        """Those of a sample."""
        number = self.hashes_of[row]
        return self.items[self.starts[number] : self.starts[number + 1]]

    def rows(self, sets: np.ndarray) -> np.ndarray:
        """The samples that match an item of a set whose number is True in `sets` bool[S]."""
        return np.flatnonzero(np.isin(self.hashes_of, self.items[sets[self.items[:, 4]], 0]))


def eval_matches(samples: pa.Table, sets: Sequence[EvalSet], settings: DedupSettings) -> pa.Table:
    """sample_id, set, item, variant, tier, distance of the samples that show an item of a set by their hashes, by sample_id.

    `samples` has the hashes that a picture may have, NULL where it does not: pdq in hex with pdq_quality, phash (of the stored
    picture) and published (the publisher's, of a picture that is not stored). A picture is compared by the best of these that the
    set has too. Of several items the first of its `candidates` is named. `variant` is the one that matched, NULL for the picture
    as it is.
    """
    found = candidates(samples, sets, settings)
    rows = found.rows(np.ones(len(sets), bool))
    firsts = found.items[found.starts[found.hashes_of[rows]]]
    return named(samples, sets, np.column_stack([rows, firsts[:, 1:]]))


def candidates(samples: pa.Table, sets: Sequence[EvalSet], settings: DedupSettings) -> Candidates:
    """All items that samples match.

    Of one sample those that matched as they are come before those by a variant, then by tier, distance, set and place in the set.
    """
    codes = [samples[name].combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy() for name in HASHES]
    _, firsts, hashes_of = np.unique(np.stack(codes, axis=1), axis=0, return_index=True, return_inverse=True)
    items = _matching(samples.take(pa.array(firsts)), sets, settings)
    return Candidates(hashes_of.reshape(-1), np.searchsorted(items[:, 0], np.arange(len(firsts) + 1)), items)


def _matching(samples: pa.Table, sets: Sequence[EvalSet], settings: DedupSettings) -> np.ndarray:
    """All items that samples match, rows of `Candidate`, int64[P, 6], in order of the samples."""
    rows = [np.zeros((0, len(Candidate._fields)), np.int64)]
    for place, file in enumerate(file_of(each) for each in sets):
        for search_of_tier in _searches(samples, file, settings):
            row, hashed, distance = _near(samples, file, search_of_tier, settings)
            tier, of_set = (np.full(len(row), value) for value in (TIERS.index(search_of_tier.tier), place))
            by_variant = hashed % (1 + len(file.variants)) > 0
            rows.append(np.stack([row, by_variant, tier, distance, of_set, hashed], axis=1))
    matches = np.concatenate(rows)
    return matches[np.lexsort(matches.T[::-1])]


def named(samples: pa.Table, sets: Sequence[EvalSet], matches: np.ndarray) -> pa.Table:
    """Matches, rows of `Candidate`, one of a sample at most, as columns (`eval_matches`)."""
    row, _, tier, distance, of_sets, hashed = matches.T
    names, variants = np.empty(len(matches), object), np.empty(len(matches), object)
    for place, file in enumerate(file_of(each) for each in sets):
        of_set = of_sets == place
        items, kinds = np.divmod(hashed[of_set], 1 + len(file.variants))
        names[of_set] = file.names(items.tolist())
        variants[of_set] = np.array([None, *file.variants], object)[kinds]
    return pa.table(
        {
            "sample_id": samples["sample_id"].take(pa.array(row)),
            "set": pa.array([sets[place].name for place in of_sets.tolist()], pa.string()),
            "item": pa.array(names, pa.string()),
            "variant": pa.array(variants, pa.string()),
            "tier": pa.array([TIERS[number] for number in tier.tolist()], pa.string()),
            "distance": pa.array(distance, pa.int32()),
        }
    )


class _Search(NamedTuple):
    """The samples bool[N] that are looked up in a tier, their column, the array of a set's file, and the radius."""

    tier: str
    samples: np.ndarray
    column: str
    array: str
    radius: int


def _searches(samples: pa.Table, file: EvalFile, settings: DedupSettings) -> Iterator[_Search]:
    """What is looked up in a set: pictures with PDQ by that and by both hashes, others by the 64-bit hash alone."""
    has_pdq, has_phash, has_published = (samples[name].is_valid().to_numpy() for name in ("pdq", "phash", "published"))
    if file.pdq is None:
        has_pdq = np.zeros(len(samples), bool)
    is_told = has_pdq & pc.fill_null(pc.greater_equal(samples["pdq_quality"], settings.eval_quality), False).to_numpy()
    if file.pdq is not None:
        yield _Search("pdq", is_told, "pdq", "pdq", settings.eval_pdq_distance)
    if file.phash is not None and file.pdq is not None:
        yield _Search("both", is_told & has_phash, "phash", "phash", settings.eval_both_distances[0])
    if file.phash is not None:
        yield _Search("phash", has_phash & ~has_pdq, "phash", "phash", settings.eval_distance)
        yield _Search("published", has_published & ~has_phash & ~has_pdq, "published", "phash", settings.eval_distance)


def _near(
    samples: pa.Table, file: EvalFile, search_of_tier: _Search, settings: DedupSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The items that samples match in a tier: (row of samples, item, distance), int64[P] each."""
    rows = np.flatnonzero(search_of_tier.samples)
    row, item, distance = _looked_up(samples[search_of_tier.column].take(pa.array(rows)), file, search_of_tier)
    row = rows[row]
    if search_of_tier.tier in ("pdq", "both") and file.pdq_quality is not None:  # a flat item is near all flat pictures
        is_told = file.pdq_quality[item] >= settings.eval_quality
        row, item, distance = row[is_told], item[is_told], distance[is_told]
    if search_of_tier.tier == "both" and file.pdq is not None:
        words = _words_of_hex(samples["pdq"].take(pa.array(row)).combine_chunks())
        distance = np.bitwise_count(words ^ file.pdq[item]).sum(axis=1, dtype=np.int64)
        is_near = distance <= settings.eval_both_distances[1]
        row, item, distance = row[is_near], item[is_near], distance[is_near]
    return row, item, distance


def _looked_up(column: pa.ChunkedArray, file: EvalFile, search_of_tier: _Search) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The items within the radius of hashes: (row, item, distance), int64[P] each; each distinct hash is looked up once."""
    hashes, array = column.combine_chunks().dictionary_encode(), search_of_tier.array
    distinct = _words_of_hex(hashes.dictionary) if array == "pdq" else hashes.dictionary.to_numpy().reshape(-1, 1)
    matches = search(_index(file.path, array, file.array_digests[array]), distinct, search_of_tier.radius)
    codes = hashes.indices.to_numpy()
    order = np.argsort(codes, kind="stable")  # the rows of each distinct hash lie together
    first, last = (np.searchsorted(codes[order], matches.queries, side) for side in ("left", "right"))
    sizes = last - first
    places = np.repeat(first - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
    return order[places], np.repeat(matches.rows, sizes), np.repeat(matches.distances, sizes).astype(np.int64)


def _words_of_hex(hashes: pa.Array) -> np.ndarray:
    """PDQ hashes in hex as uint64[N, 4], as an `EvalFile` has them."""
    return np.frombuffer(bytes.fromhex("".join(hashes.to_pylist())), "<u8").reshape(-1, 4)


def file_of(one: EvalSet) -> EvalFile:
    """The file of a set; RequestError where it is no longer the one that was named."""
    file = local_file(one.uri)
    if file.digest != one.digest:
        raise RequestError(f"{one.uri} was written again since the job began; run it again")
    return file


@lru_cache(16)
def _opened(path: Path, stamp: str) -> EvalFile:  # `stamp` is that of another file once the path has one
    return open_evalset(path)


@lru_cache(16)
def _index(path: Path, array: str, digest: str) -> HammingIndex:
    """The hashes of an array of a set's file, with their tables; RequestError where they are damaged."""
    hashes = getattr(open_evalset(path), array)
    hashes = hashes.reshape(len(hashes), -1)
    folder = _cache() / f"{digest}-{TABLES[hashes.shape[1]]}-{key_bits(*hashes.shape)}"
    if not folder.exists():
        _require_digest(path, array, hashes, digest)
    if len(hashes) < SMALL:
        return build(hashes)
    if not folder.exists():
        _write_tables(hashes, folder)
    starts, rows = (np.load(folder / f"{part}.npy", mmap_mode="r") for part in ("starts", "rows"))
    return HammingIndex(hashes, starts, rows)


def _write_tables(hashes: np.ndarray, folder: Path) -> None:
    """Writes the tables of hashes uint64[N, W] to a folder, which appears whole."""
    tables, bits = TABLES[hashes.shape[1]], key_bits(*hashes.shape)
    temporary = folder.with_name(uuid.uuid4().hex)
    temporary.mkdir()
    create = np.lib.format.open_memmap
    starts = create(temporary / "starts.npy", "w+", np.uint32, (tables, (1 << bits) + 1))
    rows = create(temporary / "rows.npy", "w+", np.uint32, (tables, len(hashes)))
    for table in range(tables):
        starts[table], rows[table] = tabulate(hashes, table)
    starts.flush()
    rows.flush()
    with suppress(OSError):  # another worker has made it
        temporary.rename(folder)
    shutil.rmtree(temporary, ignore_errors=True)


def _cache() -> Path:
    folder = cache_folder() / "evalsets"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
