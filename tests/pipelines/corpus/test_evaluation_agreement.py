"""Evaluation pictures changed too much for a hash are found by laying them over each other."""

from pathlib import Path

import pytest
from PIL import Image

from infra.benchmarks.tools.pictured import fill_pictured
from infra.compat.errors import RequestError
from pipelines.corpus import evaluation_sets
from pipelines.corpus.evaluation_agreement import agreeing_matches, require_squares
from pipelines.corpus.evaluation_search import local_file
from pipelines.corpus.evaluation_sets import Options, index_set, sets_of
from pipelines.corpus.variants import cropped
from pipelines.demo_corpus.transformations import with_bar
from pipelines.manifest.join import read_family
from pipelines.manifest.storage import Storage
from tests.filters.duplicates.test_alignment import scene
from tests.support.counted import run_here
from tests.support.images import encoded


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(evaluation_sets, "run_items", run_here)
    (tmp_path / "eval").mkdir()
    for number in range(4):
        scene(number).save(tmp_path / f"eval/{number}.png")
    (tmp_path / "eval/broken.png").write_bytes(b"no")
    return tmp_path / "eval"


def test_changed_copies_are_named_with_their_agreement(tmp_path: Path, pictures: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    shown = [cropped(0.9, 0.1, 0.9)(scene(1)), with_bar(0.15)(scene(2)), scene(20), scene(3)]
    (part,) = fill_pictured(storage, 1, 6, [*map(png, shown), b"no picture"])
    one = index_set(storage, "shapes", str(pictures), Options(squares=True))
    assert local_file(one.uri).squares is not None and local_file(one.uri).descriptors.shape == (4, 128)
    ids = read_family(storage, part, "samples", [])["sample_id"].to_numpy()
    found, unread = agreeing_matches(storage, part, ids[[0, 1, 2, 4, 5]], [one], 0.85, 50)  # a hash matched the fourth
    rows = {row.pop("sample_id"): row for row in found.to_pylist()}
    assert unread == {ids[4]: "undecodable"} and list(rows) == [ids[0], ids[1], ids[5]]  # the sixth is the first again
    assert [row["item"] for row in rows.values()] == ["1.png", "2.png", "1.png"]
    assert all(row["set"] == "shapes" and row["tier"] == "agreement" and row["agreement"] > 0.85 for row in rows.values())


def test_sets_without_squares_are_refused_with_the_mend(tmp_path: Path, pictures: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    (part,) = fill_pictured(storage, 1, 2, [png(scene(1))])
    one, other = index_set(storage, "plain", str(pictures)), sets_of(storage, {"shapes": str(pictures)}, True)[0]
    with pytest.raises(RequestError, match="index-evalset --squares"):
        require_squares([one])
    require_squares([one, other])
    require_squares([])
    ids = read_family(storage, part, "samples", [])["sample_id"].to_numpy()
    found, _ = agreeing_matches(storage, part, ids, [one, other], 0.85, 50)
    assert found["set"].to_pylist() == ["shapes", "shapes"]
    assert not len(agreeing_matches(storage, part, ids, [], 0.85, 50)[0])


def png(image: Image.Image) -> bytes:
    return encoded(image, "PNG")
