"""Copies of every kind are those of an exhaustive comparison, however the corpus is cut, ordered and killed."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from pipelines.corpus import near_copies, sorting
from pipelines.corpus.copies import find_copies
from pipelines.corpus.copy_keys import normalised_urls
from pipelines.corpus.duplicates import join_part
from pipelines.corpus.settings import KINDS, DedupSettings
from pipelines.manifest.embeddings import FOOTER, encoded
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from pipelines.runtime import external_sort
from pipelines.runtime.external_sort import SortFailed
from pipelines.sources import sources
from tests.filters.duplicates.test_semantic import embeddings
from tests.support.counted import in_process

__all__ = ["in_process"]

QUICK = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
SOURCES = ("coyo", "laion2b-en", "sbu")
BITS = [1, 1 << 20, 1 << 33, 1 << 47, 1 << 62]
rows = st.tuples(
    st.integers(0, 31),  # bits of a hash, spread over the word
    st.sampled_from([None, 20, 50, 90]),  # quality
    st.sampled_from([None, 1, 2]),  # bytes
    st.sampled_from([None, 1, 2]),  # caption
    st.integers(1, 6),  # URL
)
Row = tuple[int, int | None, int | None, int | None, int]


def phash(number: int) -> int:
    return sum(bit for place, bit in enumerate(BITS) if number >> place & 1)


def corpus(root: Path, samples: list[tuple[str, Row]], part_rows: int) -> tuple[Storage, list[Part], dict[int, Row]]:
    """Samples with a source each, in parts of so many rows; sample id → its row."""
    storage, parts, known = Storage(str(root)), [], {}
    for source in SOURCES:
        own = [row for name, row in samples if name == source]
        for first in range(0, len(own), part_rows):
            part = Part(source, 0, first, len(own[first : first + part_rows]))
            ids = sample_ids(sources()[source].ordinal, 0, first, part.rows)
            known |= dict(zip(ids.tolist(), own[first:], strict=False))
            hashes, quality, data, caption, url = zip(*own[first : first + part_rows], strict=True)
            columns = {"phash": list(map(phash, hashes)), "pdq_quality": quality, "bytes": data, "caption": caption, "url": url}
            keys = pa.table({"sample_id": ids} | {name: pa.array(values, pa.uint64()) for name, values in columns.items()})
            storage.write_parquet(part.path("copy_keys"), conform(keys, "copy_keys"))
            write_receipt(storage, part, Receipt("copy_keys", source, part.name, "f", str(own), part.rows, part.rows))
            storage.write_parquet(part.path("samples"), pa.table({"sample_id": ids}))
            parts.append(part)
    return storage, parts, known


def rank(sample: int, priority: tuple[str, ...]) -> tuple[int, int]:
    places = [sources()[name].ordinal for name in priority]
    return (places.index(sample >> 56) if sample >> 56 in places else len(places), sample)


def by_comparing_all(known: dict[int, Row], chosen: DedupSettings) -> dict[str, dict[int, tuple[int, int]]]:
    """Kind → sample → the sample it copies and their distance."""

    def distance(kind: str, a: Row, b: Row) -> int | None:
        bits = (phash(a[0]) ^ phash(b[0])).bit_count()
        is_flat = any(row[1] is not None and row[1] < chosen.eval_quality for row in (a, b))
        match kind:
            case "bytes":
                return 0 if a[2] is not None and a[2] == b[2] else None
            case "url":
                return 0 if a[4] == b[4] else None
            case "pair":
                return bits if a[3] is not None and a[3] == b[3] and bits <= chosen.distance else None
            case _:
                return bits if bits <= chosen.pixel_distance and not is_flat else None

    found: dict[str, dict[int, tuple[int, int]]] = {}
    for kind in KINDS:
        kept, found[kind] = list[int](), {}
        for sample in sorted(known, key=lambda sample: rank(sample, chosen.source_priority)):
            near = [(other, bits) for other in kept if (bits := distance(kind, known[other], known[sample])) is not None]
            if near:
                found[kind][sample] = near[0]
            else:
                kept.append(sample)
    return found


def found_in(storage: Storage, parts: list[Part], chosen: DedupSettings) -> dict[str, dict[int, tuple[int, int]]]:
    copies, found = find_copies(storage, parts, chosen), {kind: dict[int, tuple[int, int]]() for kind in KINDS}
    for part in parts:
        ids = storage.read_parquet(part.path("samples"))["sample_id"].to_numpy()
        of_part = copies.of_part(storage, part, ids)
        for kind in KINDS:
            found[kind] |= {row["sample_id"]: (row["copy_of"], int(row["distance"])) for row in of_part[kind].to_pylist()}
    return found


samples_of_sources = st.lists(st.tuples(st.sampled_from(SOURCES), rows), min_size=1, max_size=40)
priorities = st.sampled_from([(), ("sbu",), ("laion2b-en", "sbu")])


@QUICK
@given(samples_of_sources, st.integers(1, 20), st.integers(3, 60), priorities, st.integers(1, 3), st.integers(0, 2))
def test_copies_are_those_of_an_exhaustive_comparison(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    in_process: None,
    samples: list[tuple[str, Row]],
    part_rows: int,
    bucket_rows: int,
    priority: tuple[str, ...],
    pixel_distance: int,
    distance: int,
) -> None:
    monkeypatch.setattr(sorting, "BUCKET_ROWS", bucket_rows)
    monkeypatch.setattr(external_sort, "FAN_IN", 2)
    chosen = DedupSettings(source_priority=priority, pixel_distance=pixel_distance, distance=distance)
    storage, parts, known = corpus(tmp_path_factory.mktemp("copies"), samples, part_rows)
    assert found_in(storage, parts[::-1], chosen) == by_comparing_all(known, chosen)
    left = {path.split("/")[1] for path in storage.glob("partial/copies*/*")}
    assert left == {"copies", "copies_found"}  # and nothing that lies in between


def test_a_search_killed_at_any_file_leaves_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    monkeypatch.setattr(sorting, "BUCKET_ROWS", 12)
    monkeypatch.setattr(external_sort, "FAN_IN", 2)
    draws = np.random.default_rng(0).integers(0, 40, (24, 5)).tolist()
    drawn = [(SOURCES[a % 3], (b % 32, None, [None, 1, 2][c % 3], d % 2 + 1, e)) for a, b, c, d, e in draws]
    whole, parts, _ = corpus(tmp_path / "whole", drawn, 5)
    expected = find_copies(whole, parts, DedupSettings())
    storage, parts, _ = corpus(tmp_path / "killed", drawn, 5)
    adopt, room = Storage.adopt, {"files": 0}

    def killed(self: Storage, *arguments: object) -> object:
        if not room["files"]:
            raise OSError("killed")
        room["files"] -= 1
        return adopt(self, *arguments)

    monkeypatch.setattr(Storage, "adopt", killed)
    kills = 0
    while True:
        room["files"] = 9
        try:
            found = find_copies(storage, parts, DedupSettings())
            break
        except SortFailed:
            kills += 1
    assert kills > 3 and found.lows == expected.lows
    assert [storage.read(file.path) for file in found.files] == [whole.read(file.path) for file in expected.files]


def joined(storage: Storage, parts: list[Part], chosen: DedupSettings) -> dict[int, dict[str, object]]:
    copies = find_copies(storage, parts, chosen)
    tables = [join_part(storage, part, lambda rows: None, settings=chosen, copies=copies).table for part in parts]
    return {row["sample_id"]: row for table in tables for row in conform(table, "dedup").to_pylist()}


@QUICK
@given(samples_of_sources, st.integers(1, 20), st.lists(st.sampled_from(KINDS), unique=True), priorities)
def test_a_dropped_sample_leads_to_one_that_stays_whatever_kinds_are_dropped(
    tmp_path_factory: pytest.TempPathFactory,
    in_process: None,
    samples: list,
    part_rows: int,
    drop: list,
    priority: tuple[str, ...],
) -> None:
    storage, parts, known = corpus(tmp_path_factory.mktemp("copies"), samples, part_rows)
    chosen = DedupSettings(drop=tuple(drop), source_priority=priority)
    found, table = by_comparing_all(known, chosen), joined(storage, parts, chosen)
    assert sorted(table) == sorted(known)
    for sample, row in table.items():
        assert {kind: row[f"{kind}_copy_of"] for kind in KINDS} == {kind: found[kind].get(sample, (None,))[0] for kind in KINDS}
        kind = next((kind for kind in drop if sample in found[kind]), None)
        assert (row["duplicate_kind"], row["duplicate_of"]) == (kind, found[kind][sample][0] if kind else None)
        chain = [sample]
        while (copied := table[chain[-1]]["duplicate_of"]) is not None:
            chain.append(copied)
        assert all(rank(after, priority) < rank(before, priority) for before, after in pairwise(chain))


def test_a_hash_that_a_hundred_thousand_samples_share_is_compared_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    compared = []
    near = near_copies._near
    monkeypatch.setattr(near_copies, "_near", lambda rows, **about: (compared.append(len(rows)), near(rows, **about))[1])
    storage, part = Storage(str(tmp_path)), Part("coyo", 0, 0, 100_001)
    ids = sample_ids(4, 0, 0, part.rows)
    same = {name: np.full(part.rows, 7, np.uint64) for name in ("phash", "bytes", "caption", "url")}
    same["phash"][-1] ^= 1
    storage.write_parquet(part.path("copy_keys"), conform(pa.table({"sample_id": ids, **same}), "copy_keys"))
    write_receipt(storage, part, Receipt("copy_keys", "coyo", part.name, "f", "d", part.rows, part.rows))
    found = find_copies(storage, [part], DedupSettings()).of_part(storage, part, ids)
    assert {kind: len(found[kind]) for kind in KINDS} == dict.fromkeys(KINDS, 100_000)
    assert found["pixels"]["distance"].to_pylist()[-2:] == [0, 1] and sum(compared) == 2 * len(near_copies.choices(3))


def embedded(root: Path, count: int, part_rows: int) -> tuple[Storage, list[Part], dict[int, np.ndarray]]:
    """Samples of several sources with embeddings; sample id → its own."""
    rows: list[tuple[str, Row]] = [(SOURCES[number % 3], (number % 32, None, None, 1, number)) for number in range(count)]
    storage, parts, known = corpus(root, rows, part_rows)
    vectors = embeddings(count, 7)
    of_sample = dict(zip(known, vectors, strict=True))
    for part in parts:
        ids = storage.read_parquet(part.path("samples"))["sample_id"].to_pylist()
        embedding, scale = encoded(np.stack([of_sample[id] for id in ids]), "float16")
        table = pa.table({"sample_id": pa.array(ids, pa.uint64()), "embedding": embedding, "scale": scale})
        storage.write_parquet(part.path("embeddings"), table.replace_schema_metadata({FOOTER: '{"dtype": "float16"}'}))
        receipt = Receipt("embeddings", part.source, part.name, "f", str(ids), part.rows, part.rows, settings={"clip": "x"})
        write_receipt(storage, part, receipt)
    return storage, parts, of_sample


@pytest.mark.parametrize("part_rows", [3, 100])
def test_semantic_copies_are_near_one_that_stays_however_the_corpus_is_cut(
    tmp_path: Path, in_process: None, part_rows: int
) -> None:
    chosen = DedupSettings(kinds=("semantic",), drop=("semantic",), semantic_distance=0.2, source_priority=("sbu",))
    storage, parts, vectors = embedded(tmp_path, 120, part_rows)
    table = joined(storage, parts, chosen)
    copies = {sample: row["semantic_copy_of"] for sample, row in table.items() if row["semantic_copy_of"] is not None}
    assert 40 < len(copies) < 120 and all(copied not in copies for copied in copies.values())
    for sample, copied in copies.items():
        apart = 1 - float(vectors[sample] @ vectors[copied])
        assert apart <= 0.2 and table[sample]["semantic_distance"] == pytest.approx(apart, abs=1e-6)
        assert rank(copied, ("sbu",)) < rank(sample, ("sbu",)) and table[sample]["duplicate_kind"] == "semantic"
    again, parts, _ = embedded(tmp_path / "again", 120, part_rows)
    assert joined(again, parts[::-1], chosen) == table


def test_semantic_copies_need_embeddings(tmp_path: Path, in_process: None) -> None:
    storage, parts, _ = corpus(tmp_path, [("coyo", (1, None, None, 1, 1))], 5)
    with pytest.raises(RequestError, match=r"needs embeddings; run `pairmill score --set score\.embeddings=float16`"):
        find_copies(storage, parts, DedupSettings(kinds=("semantic",), drop=()))


def test_addresses_are_equal_whatever_does_not_change_the_picture() -> None:
    same = [
        "http://A.test/x.jpg?q=1",
        "https://a.test:443/x.jpg?q=1#top",
        "HTTP://a.test:80/x.jpg?q=1",
        " http://a.test/x.jpg?q=1",
    ]
    other = ["http://a.test/X.jpg?q=1", "http://a.test/x.jpg?q=2", "http://a.test:8080/x.jpg?q=1", "no address"]
    assert set(normalised_urls(pa.chunked_array([same])).to_pylist()) == {"a.test/x.jpg?q=1"}
    assert len(set(normalised_urls(pa.chunked_array([[*same, *other]])).to_pylist())) == 1 + len(other)
    assert normalised_urls(pa.chunked_array([["http://a.test?q", "http://a.test/?q"]])).to_pylist() == ["a.test/?q"] * 2


def test_wrong_settings_are_refused_in_one_line() -> None:
    with pytest.raises(RequestError, match="unknown source 'coco'"):
        find_copies(Storage("/nowhere"), [], DedupSettings(source_priority=("coco",)))
    with pytest.raises(ValueError, match="drop names pair, which kinds does not"):
        DedupSettings(kinds=("url",))
