"""What a hash matched is looked at again: copies stand, siblings of another colour do not."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

from infra.benchmarks.recall import compared
from infra.benchmarks.tools.pictured import fill_pictured
from pipelines.corpus import evaluation_looks, evaluation_sets
from pipelines.corpus.evaluation_looks import confirmed_matches
from pipelines.corpus.evaluation_search import EvalSet, candidates, eval_matches, local_file
from pipelines.corpus.evaluation_sets import Options, index_set
from pipelines.corpus.settings import DedupSettings
from pipelines.manifest.join import read_family
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from tests.filters.duplicates.test_alignment import scene
from tests.support.counted import run_here
from tests.support.images import encoded


def recoloured(image: Image.Image) -> Image.Image:
    """The same greys in other colours."""
    pixels = np.asarray(image).astype(np.float32)
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return Image.fromarray((2 * grey[..., None] - pixels[..., [2, 1, 0]]).clip(0, 255).astype(np.uint8))


SHOWN = [
    scene(1).convert("L").convert("RGB"),
    recoloured(scene(1)),
    ImageOps.mirror(scene(2)),
    scene(20),
    scene(1),
]


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setattr(evaluation_sets, "run_items", run_here)
    (tmp_path / "eval").mkdir()
    for number in range(4):
        scene(number).save(tmp_path / f"eval/{number}.png")
    return Storage(str(tmp_path / "root"))


def indexed(storage: Storage, tmp_path: Path, name: str, looks: str) -> EvalSet:
    return index_set(storage, name, str(tmp_path / "eval"), Options(looks=looks))


def filled(storage: Storage) -> tuple[Part, pa.Table]:
    """A part whose last picture, a copy, cannot be read, and the hashes of its samples."""
    (part,) = fill_pictured(storage, 1, len(SHOWN), [*(encoded(image, "PNG") for image in SHOWN[:-1]), b"no picture"])
    ids = read_family(storage, part, "samples", [])["sample_id"]
    return part, compared(SHOWN).set_column(0, "sample_id", ids)


def test_siblings_in_other_colours_do_not_stand_and_grey_copies_do(storage: Storage, tmp_path: Path) -> None:
    one = indexed(storage, tmp_path, "shapes", "auto")
    part, samples = filled(storage)
    assert local_file(one.uri).looks is not None and len(eval_matches(samples, [one], DedupSettings())) == 4
    found, unread = confirmed_matches(storage, part, samples, [one], DedupSettings())
    rows = {row["sample_id"] - samples["sample_id"][0].as_py(): row for row in found.to_pylist()}
    assert unread == {samples["sample_id"][-1].as_py(): "undecodable"}
    assert {place: row["item"] for place, row in rows.items()} == {0: "1.png", 2: "2.png", 4: "1.png"}
    assert rows[0]["agreement"] > 0.9 and rows[2]["variant"] == "mirrored" and rows[4]["agreement"] is None


def test_without_looks_or_where_it_is_off_hashes_decide(storage: Storage, tmp_path: Path) -> None:
    plain, one = indexed(storage, tmp_path, "plain", "none"), indexed(storage, tmp_path, "shapes", "all")
    part, samples = filled(storage)
    assert local_file(plain.uri).looks is None
    alone = eval_matches(samples, [plain, one], DedupSettings())
    for sets, settings in (([plain], DedupSettings()), ([plain, one], DedupSettings(eval_hash_agreement=0))):
        found, unread = confirmed_matches(storage, part, samples, sets, settings)
        assert found.drop_columns("agreement").equals(alone) and found["agreement"].null_count == len(found) and not unread
    nothing = samples.slice(3, 1)  # matches no item
    assert len(confirmed_matches(storage, part, nothing, [one], DedupSettings())[0]) == 0


def test_looks_are_kept_of_sets_that_stay_small(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_sets, "MOST_WITH_LOOKS", 3)
    assert local_file(indexed(storage, tmp_path, "shapes", "auto").uri).looks is None
    assert local_file(indexed(storage, tmp_path, "shapes", "all").uri).looks.shape == (4, 1536)


def test_the_next_candidate_is_looked_at_where_the_first_is_a_sibling(storage: Storage, tmp_path: Path) -> None:
    recoloured(scene(1)).save(tmp_path / "eval/0.png")  # as near by its hash, and before the copy
    one = indexed(storage, tmp_path, "shapes", "auto")
    part, samples = filled(storage)
    evaluation_looks._agreement.cache_clear()
    found, _ = confirmed_matches(storage, part, samples.slice(1, 1), [one], DedupSettings())
    assert found["item"].to_pylist() == ["0.png"]
    (colour,) = fill_pictured(Storage(str(tmp_path / "other")), 1, 1, [encoded(scene(1), "PNG")])
    own = compared([scene(1)]).set_column(0, "sample_id", read_family(storage, part, "samples", [])["sample_id"].slice(0, 1))
    found, _ = confirmed_matches(Storage(str(tmp_path / "other")), colour, own, [one], DedupSettings())
    assert found["item"].to_pylist() == ["1.png"]


def test_what_cannot_be_looked_at_stands_by_its_hash_after_siblings(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = indexed(storage, tmp_path, "shapes", "all")
    for number in range(4):
        recoloured(scene(1)).save(tmp_path / f"eval/{number}.png")
    siblings, plain = indexed(storage, tmp_path, "siblings", "all"), indexed(storage, tmp_path, "plain", "none")
    samples, looks = compared([scene(1)]), {0: evaluation_looks.look_of(np.asarray(scene(1)))}

    def found(sets: list[EvalSet], most: int) -> list[tuple[str, str, bool]]:
        monkeypatch.setattr(evaluation_looks, "MOST", most)
        rows = evaluation_looks.confirmed(samples, sets, candidates(samples, sets, DedupSettings()), looks, DedupSettings())
        return [(row["set"], row["item"], row["agreement"] is None) for row in rows.to_pylist()]

    assert found([siblings], 4) == [] and found([siblings], 64) == []  # all were looked at, each once
    assert found([siblings], 3) == [("siblings", "3.png", True)]
    assert found([siblings, plain], 4) == [("plain", "0.png", True)]
    assert found([siblings, one], 1) == [("shapes", "1.png", False)]  # the nearest is looked at first


def test_the_same_picture_stands_however_little_it_shows(storage: Storage, tmp_path: Path) -> None:
    flat = Image.new("RGB", (80, 80), "white")
    flat.paste("grey", (20, 20, 30, 30))
    flat.save(tmp_path / "eval/0.png")
    one = indexed(storage, tmp_path, "shapes", "all")
    samples = compared([flat]).set_column(1, "pdq", pa.nulls(1, pa.string()))
    looks = {0: evaluation_looks.look_of(np.asarray(flat))}
    found = evaluation_looks.confirmed(samples, [one], candidates(samples, [one], DedupSettings()), looks, DedupSettings())
    assert found["item"].to_pylist() == ["0.png"] and found["agreement"].to_pylist() == [1.0]
