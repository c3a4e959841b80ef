"""A set is indexed once, again where its pictures change, and what cannot be read is named and costs no other."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

from infra.benchmarks.recall import compared
from infra.benchmarks.tools.photographs import photograph
from infra.compat.errors import RequestError
from pipelines.corpus import evaluation_sets
from pipelines.corpus.evaluation_embeddings import embedding_matches
from pipelines.corpus.evaluation_hashing import Embedder, Hasher, Kept
from pipelines.corpus.evaluation_pictures import chunks_of
from pipelines.corpus.evaluation_search import EvalSet, eval_matches, local_file
from pipelines.corpus.evaluation_sets import Options, index_set, named_sets, require_sets, sets_of
from pipelines.corpus.settings import DedupSettings
from pipelines.corpus.variants import VARIANTS, bordered, cropped
from pipelines.manifest.embeddings import FOOTER, encoded
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from sharding.decode import decode_picture
from tests.support.counted import run_here
from tests.support.tars import jpeg

KEPT = Kept(tuple(VARIANTS), looks=True)


def hash_here(storage: Storage, folder: Path) -> None:
    """Hashes the pictures of the set `shapes` in this process, so that no worker has to."""
    for chunk in chunks_of("shapes", str(folder)):
        item = {"chunk": chunk, "target": evaluation_sets._target("shapes", chunk, KEPT)}
        Hasher(storage, KEPT)(item, lambda units: None)


def indexed(storage: Storage, folder: Path) -> EvalSet:
    hash_here(storage, folder)
    (one,) = sets_of(storage, {"shapes": str(folder)})
    return one


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "eval").mkdir()
    for number in range(3):
        (tmp_path / f"eval/{number}.jpg").write_bytes(jpeg(number))
    return tmp_path / "eval"


def test_a_set_without_a_file_is_indexed_once_and_again_where_a_picture_changes(tmp_path: Path, pictures: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    first = indexed(storage, pictures)
    written = Path(first.uri).stat().st_mtime_ns
    assert indexed(storage, pictures) == first and Path(first.uri).stat().st_mtime_ns == written
    (pictures / "1.jpg").write_bytes(jpeg(40, 96))
    second = indexed(storage, pictures)
    assert second.digest != first.digest and local_file(second.uri).names(range(3)) == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_file_has_the_same_bytes_and_matches_wherever_it_lies(tmp_path: Path, pictures: Path) -> None:
    digests = set()
    for root in ("one", "two"):
        storage = Storage(str(tmp_path / root))
        hash_here(storage, pictures)
        file = Path(index_set(storage, "shapes", str(pictures)).uri)
        assert file == tmp_path / root / "evalsets/shapes.evalset"
        digests |= {
            file.read_bytes(),
            indexed(storage, pictures).digest,
            *(one.digest for one in sets_of(storage, {"x": str(file)})),
        }
    assert len(digests) == 2  # the bytes of the files, and the digest of the items


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, pictures: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    (pictures / "1.jpg").write_bytes(b"no")
    one = indexed(storage, pictures)
    assert local_file(one.uri).items == 2 and [*one.faults] == ["1.jpg"] and "not a picture" in one.faults["1.jpg"]


def test_wrong_requests_are_refused_in_a_line(tmp_path: Path, pictures: Path) -> None:
    assert named_sets([f"a={pictures}"]) == {"a": str(pictures)}
    for request in ("a", "a="):
        with pytest.raises(RequestError, match="is not NAME=URI"):
            named_sets([request])
    with pytest.raises(RequestError, match="names a twice; give each set a name of its own"):
        named_sets([f"a={pictures}", "a=/other"])
    (tmp_path / "wrong.evalset").write_bytes(b"no")
    for sets, error in [
        ({"a b": str(pictures)}, "a name has letters, digits"),
        ({"": str(pictures)}, "a name has letters, digits"),
        ({"a": str(tmp_path / "none.evalset")}, "no file .*none.evalset; write it by"),
        ({"a": str(tmp_path / "wrong.evalset")}, "no evaluation set, or a broken one"),
        ({"a": str(tmp_path / "nothing")}, "no images"),
    ]:
        with pytest.raises(RequestError, match=error):
            require_sets(sets)


def test_changed_copies_are_found_by_the_variants_of_an_item(tmp_path: Path, pictures: Path) -> None:
    for number in range(3):
        (pictures / f"{number}.jpg").write_bytes(photograph(number, 256))
    one = indexed(Storage(str(tmp_path)), pictures)
    image = decode_picture((pictures / "1.jpg").read_bytes())
    shown = [image, ImageOps.mirror(image), bordered(0.02, "white")(image), bordered(0.02, "black")(image), cropped(0.9)(image)]
    found = eval_matches(compared(shown), [one], DedupSettings())
    assert found["item"].to_pylist() == ["1.jpg"] * len(shown)
    plain, *changed = found["variant"].to_pylist()  # a border may be near enough to the picture as it is
    assert plain is None and all(variant in (None, name) for variant, name in zip(changed, VARIANTS, strict=False))
    assert (changed[0], changed[3]) == ("mirrored", "cropped")
    file = local_file(one.uri)
    assert (file.items, len(file.phash), len(file.pdq)) == (3, 3 * 6, 3 * 6)


def test_variants_are_hashed_of_sets_that_stay_small(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_sets, "run_items", run_here)

    def indexed_as(variants: str) -> list[str]:
        return list(local_file(index_set(Storage(str(tmp_path)), "shapes", str(pictures), Options(variants)).uri).variants)

    assert indexed_as("auto") == [*VARIANTS] and indexed_as("none") == []
    monkeypatch.setattr(evaluation_sets, "MOST_WITH_VARIANTS", 2)
    assert indexed_as("auto") == [] and indexed_as("all") == [*VARIANTS]


COLOURS = ["red", "green", "blue"]


def mean_colour(images: Sequence[Image.Image]) -> np.ndarray:
    """An embedder: the normalised mean colour of each picture."""
    means = np.stack([np.asarray(image).mean(axis=(0, 1)) + 1 for image in images])
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def test_what_no_hash_matched_is_found_by_the_embeddings_of_the_same_model(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_sets, "run_items", run_here)
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (64, 64), colour).save(pictures / f"{number}.jpg")
    (pictures / "broken.jpg").write_bytes(b"no")
    storage, part = Storage(str(tmp_path / "root")), Part("coyo", 0, 0, 4)
    one = index_set(storage, "shapes", str(pictures), Options("all", embedder=Embedder(lambda: mean_colour, {"model": "x"})))
    file, expected = local_file(one.uri), mean_colour([Image.new("RGB", (8, 8), colour) for colour in COLOURS])
    assert file.embedder == {"model": "x"} and np.abs(file.embeddings - expected).max() < 0.02 and file.items == 3
    shown = mean_colour([Image.new("RGB", (8, 8), colour) for colour in ("#0f0", "#00f", "#888", "#f00")])
    embedding, scale = encoded(shown, "float16")
    ids = sample_ids(4, 0, 0, 4)
    table = pa.table({"sample_id": ids, "embedding": embedding, "scale": scale})
    about = json.dumps({"clip": {"model": "x"}, "dtype": "float16"})
    storage.write_parquet(part.path("embeddings"), table.replace_schema_metadata({FOOTER: about}))
    found = embedding_matches(storage, part, ids[:3], [one], 0.9).to_pylist()  # a hash matched the last
    assert [(row["sample_id"], row["item"], row["tier"]) for row in found] == [
        (ids[0], "1.jpg", "embedding"),
        (ids[1], "2.jpg", "embedding"),
    ]
    assert all(row["cosine"] > 0.9 for row in found)
    other = index_set(storage, "others", str(pictures), Options("all", embedder=Embedder(lambda: mean_colour, {"model": "y"})))
    with pytest.raises(RequestError, match=r"others was embedded by .*'y'.*, the corpus by .*'x'.*index-evalset --embed"):
        embedding_matches(storage, part, ids, [other], 0.9)
