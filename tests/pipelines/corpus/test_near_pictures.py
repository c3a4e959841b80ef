"""Copies and evaluation pictures: what an exhaustive look at the pictures finds, with the evidence, however it is cut."""

import io
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from filters.duplicates.hashes import PICTURE_HASH, PictureHash
from pipelines import dedup, index_evalset
from pipelines.corpus import copy_keys, duplicates, evaluation_sets
from pipelines.corpus.copies import find_copies
from pipelines.corpus.evaluation_file import write_evalset
from pipelines.corpus.evaluation_hashing import Kept, picture_hashes
from pipelines.corpus.evaluation_pictures import chunks_of
from pipelines.corpus.evaluation_search import EvalSet, eval_matches, open_set
from pipelines.corpus.settings import DedupSettings
from pipelines.fetching.part import samples_without_result
from pipelines.images.pdq import pdq_of_pixels
from pipelines.manifest import connect
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part, SourceFile, register_files
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from sharding.decode import decode_picture
from sharding.tar import TarWriter
from tests.conftest import draw

# (picture, JPEG quality, caption) of each sample; those of part 1 begin at 4
SAMPLES = [
    (0, 90, "a red circle"),
    (1, 90, "a red circle"),  # the same words on another picture
    (0, 60, "A red, circle!"),  # a copy of 0: the same words, nearly the same picture
    (2, 90, "a blue cross"),
    (0, 75, "a red circle"),  # a copy of 0 in another part
    (0, 90, "something else"),  # the same picture with other words
    (2, 75, "a blue cross"),  # a copy of 3, but stage 1 drops it
]
PARTS = [Part("coyo", 0, 0, 4), Part("coyo", 1, 0, 3)]


def picture(number: int) -> Image.Image:
    return draw(("circle", "square", "cross")[number], ("red", "green", "blue")[number], random.Random(number))


def jpeg(number: int, quality: int) -> bytes:
    data = io.BytesIO()
    picture(number).save(data, "JPEG", quality=quality)
    return data.getvalue()


def phash(body: bytes) -> int:
    grey = Image.open(io.BytesIO(body)).convert("L").resize((PICTURE_HASH.side,) * 2, Image.Resampling.BOX)
    return int(PICTURE_HASH.of(np.asarray(grey)[None])[0])


@pytest.fixture
def manifest(tmp_path: Path) -> Storage:
    storage = Storage(str(tmp_path / "root"))
    register_files(storage, "coyo", [SourceFile(f"f{part.file}", part.file, part.rows, 1, "x") for part in PARTS])
    Path(storage.full("images")).mkdir(parents=True)
    bodies = [jpeg(number, quality) for number, quality, _ in SAMPLES]
    with Path(storage.full("images/a.tar")).open("wb") as handle:
        writer = TarWriter(handle)
        places = [writer.add(str(i), {"jpg": body})["jpg"] for i, body in enumerate(bodies)]
        writer.close()
    first = 0
    for part in PARTS:
        rows = range(first, first := first + part.rows)
        ids = sample_ids(4, part.file, 0, part.rows)
        urls = [f"http://a/{i}" for i in rows]
        tables = {
            "samples": {"sample_id": ids, "source": ["coyo"] * part.rows, "url": urls, "caption": [SAMPLES[i][2] for i in rows]},
            "fetch": {
                "sample_id": ids,
                "status": ["ok"] * part.rows,
                "phash": pa.array([phash(bodies[i]) for i in rows], pa.uint64()),
                "pdq": [pdq_of_pixels(np.asarray(decode_picture(bodies[i])))[0].hex() for i in rows],
                "pdq_quality": [pdq_of_pixels(np.asarray(decode_picture(bodies[i])))[1] for i in rows],
                "tar": ["images/a.tar"] * part.rows,
                "offset": [places[i][0] for i in rows],
                "length": [places[i][1] for i in rows],
            },
            "stage1": {"sample_id": ids, "keep": [i != 6 for i in rows], "reasons": [[]] * part.rows},
        }
        for family, columns in tables.items():
            storage.write_parquet(part.path(family), conform(pa.table(columns), family))
            write_receipt(storage, part, Receipt(family, "coyo", part.name, "f", family, part.rows, part.rows))
    return storage


@pytest.mark.parametrize("as_file", [False, True])
def test_copies_and_evaluation_pictures_are_told_with_their_evidence(
    manifest: Storage, tmp_path: Path, ray_session: None, as_file: bool
) -> None:
    (tmp_path / "eval").mkdir()
    picture(2).save(tmp_path / "eval" / "cross.png")
    against = str(tmp_path / "eval")
    if as_file:
        indexed = index_evalset.main(["shapes", against, "--root", manifest.root])
        against = Path(indexed["file"]).rename(tmp_path / "elsewhere.evalset")
        assert (indexed["items"], indexed["failed"]) == (1, {})
    arguments = ["--root", manifest.root, "--against", f"shapes={against}"]
    counts = dedup.main(arguments)
    assert (counts["copies"], counts["eval_matches"], counts["failed"]) == (2, 1, {})
    query = "select duplicate_of, eval_match, eval_item, tier, distance from dedup order by sample_id"
    rows = connect(manifest.root).sql(query).fetchall()
    original = int(sample_ids(4, 0, 0, 1)[0])
    none, copy = (None, None, None, None), (original, None, None, None)
    assert [row[:4] for row in rows] == [none, none, copy, (None, "shapes", "cross.png", "pdq"), copy, none, none]
    assert [row[4] is None for row in rows] == [row[:4] == none for row in rows]
    assert dedup.main(arguments)["ran"] == 0


def test_a_picture_whose_tar_was_away_is_looked_at_when_it_is_back(manifest: Storage, tmp_path: Path, ray_session: None) -> None:
    (tmp_path / "eval").mkdir()
    picture(2).save(tmp_path / "eval" / "cross.png")
    arguments = ["--root", manifest.root, "--against", f"shapes={tmp_path / 'eval'}"]
    tar = Path(manifest.full("images/a.tar"))
    tar.rename(away := tar.with_suffix(".away"))
    counts = dedup.main(arguments)
    assert [*counts["without_pictures"]] == [str(PARTS[0])] and counts["reasons"]["missing"] == 1 and counts["eval_matches"] == 1
    query = "select eval_item, agreement, error from dedup where eval_match is not null or error is not null"
    assert connect(manifest.root).sql(query).fetchall() == [("cross.png", None, "missing")]  # the hash alone decides meanwhile
    away.rename(tar)
    counts = dedup.main(arguments)
    ((item, agreed, error),) = connect(manifest.root).sql(query).fetchall()
    assert (item, error) == ("cross.png", None) and agreed > 0.75
    assert "without_pictures" not in counts and dedup.main(arguments)["ran"] == 0


def test_near_pictures_are_searched_by_the_hash_that_is_chosen(manifest: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    published = conform(
        manifest.read_parquet(PARTS[0].path("samples"))
        .drop_columns("image_phash")
        .append_column("image_phash", pa.array([7, 8, 9, 10], pa.uint64())),
        "samples",
    )
    manifest.write_parquet(PARTS[0].path("samples"), published)
    monkeypatch.setattr(copy_keys, "PICTURE_HASH", PictureHash("image_phash", PICTURE_HASH.side, PICTURE_HASH.of))
    hashes = copy_keys.hash_part(manifest, PARTS[0], lambda rows: None).table.sort_by("sample_id")
    assert hashes["phash"].to_pylist() == [7, 8, 9, 10]


def test_a_picture_without_a_hash_is_compared_with_none(manifest: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_keys, "PICTURE_HASH", PictureHash("image_phash", PICTURE_HASH.side, PICTURE_HASH.of))
    result = copy_keys.hash_part(manifest, PARTS[0], lambda rows: None)
    assert result.table["phash"].null_count == 4 and result.counts == {"reason.no_hash": 4}  # the publisher gives none


def test_no_words_are_not_the_same_words(manifest: Storage) -> None:
    table = manifest.read_parquet(PARTS[0].path("samples")).drop_columns("caption")
    captions = pa.array([None, "", "…  ★", "a red circle"])
    manifest.write_parquet(PARTS[0].path("samples"), conform(table.append_column("caption", captions), "samples"))
    keys = copy_keys.hash_part(manifest, PARTS[0], lambda rows: None).table
    assert keys["caption"].is_valid().to_pylist() == [False, False, False, True]


def darker_than_middle(greys: np.ndarray) -> np.ndarray:
    """A hash that no column holds: which of 8 × 8 blocks are darker than the middle."""
    blocks = greys.reshape(len(greys), 8, 2, 8, 2).mean(axis=(2, 4)).reshape(len(greys), 64)
    return np.packbits(blocks < 128, axis=1).view(">u8").ravel().astype(np.uint64)


DARK = PictureHash("", 16, darker_than_middle)


def test_a_hash_that_the_manifest_lacks_is_computed_from_the_stored_pictures(
    manifest: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_keys, "PICTURE_HASH", DARK)
    keys = copy_keys.hash_part(manifest, PARTS[0], lambda rows: None).table
    images = [Image.open(io.BytesIO(jpeg(number, quality))) for number, quality, _ in SAMPLES[:4]]
    assert keys.sort_by("sample_id")["phash"].to_pylist() == DARK.of_images(images).tolist()


def test_another_hash_is_never_compared_with_cached_ones_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(2).save(tmp_path / "cross.png")
    (chunk,) = chunks_of("shapes", str(tmp_path))
    target = evaluation_sets._target("shapes", chunk, Kept())
    assert evaluation_sets._target("shapes", chunk, Kept()) == target
    monkeypatch.setattr(evaluation_sets, "PICTURE_HASH", PictureHash("phash", 16, darker_than_middle))
    assert evaluation_sets._target("shapes", chunk, Kept()) != target


HASHES = {"pdq": pa.string(), "pdq_quality": pa.int32(), "phash": pa.uint64(), "published": pa.uint64()}


def flipped(data: bytes, bits: int) -> bytes:
    """The bytes with so many bits the other way round."""
    return (int.from_bytes(data) ^ ((1 << bits) - 1)).to_bytes(len(data))


def evalset(path: Path, columns: tuple[str, ...], items: dict[str, tuple[int, bytes, int]]) -> EvalSet:
    """A set of these items (phash, PDQ, quality) with some of the hashes."""
    names = ("phash", "pdq", "pdq_quality")
    arrays = {name: pa.array([item[place] for item in items.values()], KINDS[name]) for place, name in enumerate(names)}
    table = {"item": [*items], **{name: arrays[name] for name in columns}, "fault": pa.nulls(len(items), pa.string())}
    write_evalset(path, [pa.table(table)], {})
    return open_set(path.stem, str(path))


KINDS = {"phash": pa.uint64(), "pdq": pa.binary(32), "pdq_quality": pa.uint8()}
CROSS = picture_hashes(picture(2))


@pytest.mark.parametrize(
    ("columns", "sample", "expected"),
    [
        (("phash", "pdq", "pdq_quality"), (flipped(CROSS[1], 31).hex(), 90, 0, None), ("pdq", 31)),
        (("phash", "pdq", "pdq_quality"), (flipped(CROSS[1], 64).hex(), 90, CROSS[0] ^ 0b11111111, None), ("both", 64)),
        (("phash", "pdq", "pdq_quality"), (flipped(CROSS[1], 65).hex(), 90, CROSS[0], None), None),  # PDQ says no
        (("phash", "pdq", "pdq_quality"), (flipped(CROSS[1], 32).hex(), 90, CROSS[0] ^ 0b111111111, None), None),
        (("phash", "pdq", "pdq_quality"), (CROSS[1].hex(), 49, CROSS[0], None), None),  # too flat
        (("phash", "pdq", "pdq_quality"), (None, None, CROSS[0] ^ 0b111111, None), ("phash", 6)),
        (("phash", "pdq", "pdq_quality"), (None, None, CROSS[0] ^ 0b1111111, None), None),
        (("phash", "pdq", "pdq_quality"), (None, None, None, CROSS[0] ^ 0b11), ("published", 2)),
        (("phash",), (flipped(CROSS[1], 1).hex(), 90, CROSS[0], None), ("phash", 0)),
        (("pdq",), (flipped(CROSS[1], 1).hex(), 90, None, None), ("pdq", 1)),
        (("pdq",), (None, None, CROSS[0], None), None),
    ],
)
def test_a_picture_is_compared_by_the_best_hash_that_both_have(tmp_path: Path, columns, sample, expected) -> None:
    one = evalset(tmp_path / "shapes.evalset", columns, {"circle.png": picture_hashes(picture(0)), "cross.png": (*CROSS[:2], 90)})
    table = pa.table({"sample_id": pa.array([7], pa.uint64())} | dict(zip(HASHES, ([value] for value in sample), strict=True)))
    matches = eval_matches(table.cast(pa.schema([("sample_id", pa.uint64()), *HASHES.items()])), [one], DedupSettings())
    values = [*zip(matches["tier"].to_pylist(), matches["distance"].to_pylist(), strict=True)]
    assert values == ([expected] if expected else [])
    assert matches["item"].to_pylist() == ["cross.png"] * len(values)


def test_of_several_items_the_nearest_is_named_then_the_first(tmp_path: Path) -> None:
    first = evalset(tmp_path / "a.evalset", ("phash",), {"far": (0b11, bytes(32), 0), "near": (0b1, bytes(32), 0)})
    second = evalset(tmp_path / "b.evalset", ("phash",), {"near": (0b1, bytes(32), 0), "equal": (0b10000, bytes(32), 0)})
    hashes = [0, 0b10000, 0, None]
    columns = {"pdq": pa.nulls(4, pa.string()), "pdq_quality": pa.nulls(4, pa.int32()), "published": pa.nulls(4, pa.uint64())}
    samples = pa.table({"sample_id": pa.array(range(4), pa.uint64()), "phash": pa.array(hashes, pa.uint64()), **columns})
    matches = eval_matches(samples, [first, second], DedupSettings()).select(["sample_id", "set", "item"])
    assert [tuple(row.values()) for row in matches.to_pylist()] == [(0, "a", "near"), (1, "b", "equal"), (2, "a", "near")]


def test_a_published_hash_is_matched_before_anything_is_downloaded(tmp_path: Path) -> None:
    storage, part = Storage(str(tmp_path / "root")), Part("coyo", 0, 0, 3)
    ids = sample_ids(4, 0, 0, 3)
    published = [CROSS[0] | 1 << 63, CROSS[0] ^ (1 << 30) - 1, None]  # COYO's first bit is set, ours is not
    columns = {"sample_id": ids, "url": ["http://a/0", "http://a/1", "http://a/2"], "caption": ["a", "b", "c"]}
    storage.write_parquet(
        part.path("samples"), conform(pa.table(columns | {"image_phash": pa.array(published, pa.uint64())}), "samples")
    )
    storage.write_parquet(part.path("copy_keys"), copy_keys.hash_part(storage, part, lambda rows: None).table)
    shapes = evalset(tmp_path / "shapes.evalset", ("phash", "pdq", "pdq_quality"), {"cross.png": CROSS})
    matches = duplicates.match_part(storage, part, lambda rows: None, settings=DedupSettings(), sets=[shapes]).table
    storage.write_parquet(part.path("eval_matches"), matches)
    copies = find_copies(storage, [], DedupSettings())
    result = duplicates.join_part(storage, part, lambda rows: None, settings=DedupSettings(), copies=copies).table
    assert result["tier"].to_pylist() == ["published", None, None] and result["distance"].to_pylist() == [0, None, None]
    assert samples_without_result(storage, part) == 3
    storage.write_parquet(part.path("dedup"), conform(result, "dedup"))
    assert samples_without_result(storage, part) == 2
