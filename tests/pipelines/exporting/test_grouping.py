"""Several captions of a picture in one sample: nothing is lost, each stays with its id, and the loader draws among them."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.benchmarks.tools.pictured import fill_pictured
from infra.compat.errors import RequestError
from pipelines.exporting.grouping import CAPTION, SORTED_BY, grouped
from pipelines.manifest import connect
from pipelines.manifest.storage import Storage
from pipelines.runtime import external_sort
from pipelines.verify import main as verify
from sharding import ShardReader, read_dataset
from sharding.sample import Sample
from tests.pipelines.exporting.test_plan import storage
from tests.pipelines.exporting.test_run import PICTURES, contents, export, in_process, sizes
from tests.support.pictured import PART
from trainer_bridge.data.loader import Loader

__all__ = ["in_process", "storage"]

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(5, 6), st.sampled_from([None, 7, 8]), st.integers(0, 1), st.booleans()))


@settings(deadline=None)
@given(ROWS, st.integers(1, 4))
def test_the_captions_of_a_picture_and_no_others_come_together(rows: list[tuple], most: int) -> None:
    names = ("order", "length", "stored_checksum", "repeat", "synthetic")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    columns |= {"sample_id": [*range(len(rows))], "caption": [str(i) for i in range(len(rows))]}
    columns |= {name: [name] * len(rows) for name in ("source", "language")} | {"repaired": [False] * len(rows)}
    types = {"stored_checksum": pa.uint64(), **{name: pa.string() for name in ("caption", "source", "language")}}
    types |= dict.fromkeys(("synthetic", "repaired"), pa.bool_())
    table = pa.table({name: pa.array(values, types.get(name, pa.int64())) for name, values in columns.items()})
    table = table.sort_by([(name, "ascending") for name in SORTED_BY])
    samples = grouped(table, most).to_pylist()
    assert [caption for sample in samples for caption in sample["captions"]] == table.select(CAPTION).to_pylist()
    pictures = defaultdict(list)
    for sample in samples:
        own = {rows[caption["sample_id"]][:4] for caption in sample["captions"]}
        assert len(own) == 1 and sample["sample_id"] == sample["captions"][0]["sample_id"]
        pictures[own.pop()].append(len(sample["captions"]))
    assert all(count == most for counts in pictures.values() for count in counts[:-1])
    assert all(sum(counts) == sum(row[:4] == picture for row in rows) for picture, counts in pictures.items())


def test_an_export_holds_every_caption_once_wherever_the_sort_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    made = {}
    for name, rows in (("whole", 1 << 20), ("rounds", 9)):
        monkeypatch.setattr(external_sort, "BUCKET_ROWS", rows)
        root, out = tmp_path / name / "root", tmp_path / name / "out"
        parts = fill(root)
        outcome = export(str(root), parts, out, samples_per_shard=3, holdout=0.3, captions_per_sample=6)
        assert outcome.failed == {} and outcome.counts["exported"] == 40 and outcome.counts["lost"] == 0
        made[name] = contents(out, "*.tar", "*.parquet", "dataset.json") | contents(root, "manifest/shards_stage1/*/*")
    assert made["whole"] == made["rounds"]
    assert all(max(counts) - min(counts) <= 1 for counts in sizes(out).values())
    samples = [pair for sample in samples_in(out) for pair in sample.pairs()]
    (known,) = (
        connect(str(root)).execute("select list((sample_id, caption, language) order by sample_id) from manifest").fetchone()
    )
    read = sorted((sample.sample_id, sample.text, json.loads(sample.json)["language"]) for sample in samples)
    assert read == known
    per_picture = Counter(sample.image for sample in samples_in(out))
    assert {*per_picture.values()} == {2}  # eight captions of each: six and two
    assert [len(sample.pairs()) for sample in samples_in(out)] == [6, 2] * len(PICTURES)
    verify([str(out), "--root", str(root)])
    before = contents(out, "*.tar", "*.json")
    assert export(str(root), parts, out, samples_per_shard=3, holdout=0.3, captions_per_sample=6).failed == {}
    assert contents(out, "*.tar", "*.json") == before


def test_a_lost_picture_is_the_loss_of_all_its_captions(tmp_path: Path, in_process: None) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    parts = fill(root)
    next(root.rglob("000000.tar")).write_bytes(bytes(100))
    outcome = export(str(root), parts, out, captions_per_sample=100)
    assert outcome.failed and outcome.counts["exported"] + outcome.counts["lost"] == 40 and outcome.counts["lost"] > 0


def test_both_captions_of_a_sample_are_one_sample(storage: Storage, tmp_path: Path, in_process: None) -> None:
    out = tmp_path / "out"
    outcome = export(storage.root, [PART], out, captions="both", captions_per_sample=2, pictures="mixed")
    samples = {tuple(pair.text for pair in sample.pairs()) for sample in samples_in(out)}
    assert {("a green thing", "s2"), ("blue", "s3"), ("a red thing", "a red square")} <= samples
    assert outcome.counts["exported"] + outcome.counts["lost"] == 6
    metadata = [json.loads(sample.json) for sample in samples_in(out)]
    assert all([type(value) for value in row.values()] == [type(value) for value in metadata[0].values()] for row in metadata)


def test_both_captions_need_room_for_two(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="captions_per_sample"):
        export(storage.root, [PART], tmp_path / "out", captions="both")


def test_the_loader_draws_a_caption_by_position(tmp_path: Path, in_process: None) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    export(str(root), fill(root), out, captions_per_sample=100)

    def transform(image: bytes, draws: np.random.Generator) -> np.ndarray:
        return np.zeros((3, 1, 1), np.uint8)

    loader = Loader(read_dataset(str(out)), "train", 5, transform, seed=0)
    batches = [loader.load(step) for step in range(60)]  # 60 epochs of five pictures
    drawn = Counter(caption for batch in batches for caption in batch.captions)
    assert len(drawn) == 40 and max(drawn.values()) < 30
    again = Loader(read_dataset(str(out)), "train", 5, transform, seed=0).load(59)
    assert (again.captions, again.sample_ids) == (batches[59].captions, batches[59].sample_ids)
    assert all(json.loads(row)["sample_id"] == own for row, own in zip(again.json, again.sample_ids, strict=True))


def fill(root: Path) -> list:
    return fill_pictured(Storage(str(root)), 5, 8, PICTURES)


def samples_in(out: Path) -> list[Sample]:
    dataset = read_dataset(str(out))
    readers = [ShardReader(dataset, split) for split in sorted(dataset.splits)]
    return [reader.read(shard, row) for reader in readers for shard, size in enumerate(reader.sizes()) for row in range(size)]
