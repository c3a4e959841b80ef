"""Copies and evaluation pictures: what an exhaustive look at the pictures finds, with the evidence, however it is cut."""

import io
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from filters.duplicates.hashes import PICTURE_HASH, PictureHash
from pipelines import dedup
from pipelines.corpus import duplicates, evaluation_sets
from pipelines.corpus.evaluation_pictures import picture_chunks
from pipelines.corpus.settings import DedupSettings
from pipelines.manifest import connect
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part, SourceFile, register_files
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
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


@pytest.mark.parametrize("buckets", [1, 7])
def test_copies_and_evaluation_pictures_are_told_with_their_evidence(
    manifest: Storage, tmp_path: Path, ray_session: None, buckets: int
) -> None:
    (tmp_path / "eval").mkdir()
    picture(2).save(tmp_path / "eval" / "cross.png")
    arguments = ["--root", manifest.root, "--against", f"shapes={tmp_path / 'eval'}", "--set", f"dedup.buckets={buckets}"]
    counts = dedup.main(arguments)
    assert (counts["copies"], counts["eval_matches"], counts["failed"]) == (2, 1, {})
    query = "select duplicate_of, eval_match, eval_item, distance from dedup order by sample_id"
    rows = connect(manifest.root).sql(query).fetchall()
    original = int(sample_ids(4, 0, 0, 1)[0])
    none, copy = (None, None, None), (original, None, None)
    assert [row[:3] for row in rows] == [none, none, copy, (None, "shapes", "cross.png"), copy, none, none]
    assert [row[3] is None for row in rows] == [row[:3] == none for row in rows]
    assert dedup.main(arguments)["ran"] == 0


def test_near_pictures_are_searched_by_the_hash_that_is_chosen(manifest: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    published = conform(
        manifest.read_parquet(PARTS[0].path("samples"))
        .drop_columns("image_phash")
        .append_column("image_phash", pa.array([7, 8, 9, 10], pa.uint64())),
        "samples",
    )
    manifest.write_parquet(PARTS[0].path("samples"), published)
    monkeypatch.setattr(duplicates, "PICTURE_HASH", PictureHash("image_phash", PICTURE_HASH.side, PICTURE_HASH.of))
    hashes = duplicates._hash_part(manifest, PARTS[0], lambda rows: None).table.sort_by("sample_id")
    assert hashes["phash"].to_pylist() == [7, 8, 9, 10]


def test_a_picture_without_a_hash_is_compared_with_none(manifest: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "PICTURE_HASH", PictureHash("image_phash", PICTURE_HASH.side, PICTURE_HASH.of))
    result = duplicates._hash_part(manifest, PARTS[0], lambda rows: None)
    assert len(result.table) == 0 and result.counts == {"reason.no_hash": 4}  # the publisher gives none


def darker_than_middle(greys: np.ndarray) -> np.ndarray:
    """A hash that no column holds: which of 8 × 8 blocks are darker than the middle."""
    blocks = greys.reshape(len(greys), 8, 2, 8, 2).mean(axis=(2, 4)).reshape(len(greys), 64)
    return np.packbits(blocks < 128, axis=1).view(">u8").ravel().astype(np.uint64)


DARK = PictureHash("", 16, darker_than_middle)


def test_a_hash_that_the_manifest_lacks_is_computed_from_the_stored_pictures(
    manifest: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (duplicates, evaluation_sets):
        monkeypatch.setattr(module, "PICTURE_HASH", DARK)
    part = PARTS[0]
    keys = duplicates._hash_part(manifest, part, lambda rows: None).table
    images = [Image.open(io.BytesIO(jpeg(number, quality))) for number, quality, _ in SAMPLES[:4]]
    assert keys.sort_by("sample_id")["phash"].to_pylist() == DARK.of_images(images).tolist()
    manifest.write_parquet(part.path("copy_keys"), keys)
    items = pa.table({"set": ["shapes"], "item": ["cross.png"], "hash": DARK.of_images([picture(2)])})
    items = items.append_column("thumbnail", [[evaluation_sets.thumbnail_bytes(picture(2))]])
    matches = duplicates._eval_matches(manifest, part, DedupSettings(), items)
    assert matches["sample_id"].to_pylist() == [int(sample_ids(4, 0, 3, 1)[0])]


def test_another_hash_is_never_compared_with_cached_ones_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(2).save(tmp_path / "cross.png")
    (chunk,) = picture_chunks("shapes", str(tmp_path))
    target = evaluation_sets._target("shapes", chunk)
    assert evaluation_sets._target("shapes", chunk) == target
    monkeypatch.setattr(evaluation_sets, "PICTURE_HASH", PictureHash("phash", 16, darker_than_middle))
    assert evaluation_sets._target("shapes", chunk) != target
