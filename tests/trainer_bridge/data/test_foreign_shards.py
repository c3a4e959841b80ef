"""Tars that others wrote train as ours do, once they have an index."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.manifest.storage import Storage
from sharding import summary_bytes
from sharding.index import read_dataset
from sharding.layout import SUMMARY
from sharding.sample import metadata_of
from tests.support.tars import img2dataset_tar, indexed_tars, jpeg, tar_bytes
from trainer_bridge import whole
from trainer_bridge.data.loader import Loader
from trainer_bridge.stages.stage import first_captions


def decoded(image: bytes, generator: np.random.Generator) -> np.ndarray:
    from sharding.decode import decode_picture

    return whole(decode_picture(image, 8), 8)


def test_batches_and_captions_of_indexed_tars_in_folders_and_elsewhere(tmp_path: Path) -> None:
    img2dataset_tar(tmp_path / "tars/part-0/00000.tar", 0, 5)
    img2dataset_tar(tmp_path / "tars/part-1/00000.tar", 5, 3)
    dataset = indexed_tars(tmp_path / "tars")
    here = list(Loader(dataset, "train", 4, decoded, seed=0).batches(0, 2))
    assert sorted(caption for batch in here for caption in batch.captions) == [f"caption {number}" for number in range(8)]
    assert set(first_captions(dataset)) == {f"caption {number}" for number in range(8)}
    assert [batch.pixels.shape for batch in here] == [(4, 3, 8, 8)] * 2 and all(metadata_of(b.json[0])["key"] for b in here)
    elsewhere = Storage(str(tmp_path / "index"))
    for file in Path(tmp_path / "tars").rglob("*.parquet"):
        target = tmp_path / "index" / file.relative_to(tmp_path / "tars")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)
    elsewhere.write(SUMMARY, summary_bytes(dataset.splits, {}, tars=dataset.uri))
    there = list(Loader(read_dataset(elsewhere.root), "train", 4, decoded, seed=0).batches(0, 2))
    assert [batch.sample_ids for batch in there] == [batch.sample_ids for batch in here]
    assert all((a.pixels == b.pixels).all() for a, b in zip(here, there, strict=True))


def test_samples_without_text_or_json_train_too(tmp_path: Path) -> None:
    files = [(f"{number}.{ending}", data) for number in range(4) for ending, data in (("png", jpeg(number)), ("cls", b"1"))]
    (tmp_path / "classes.tar").write_bytes(tar_bytes(files))
    batch = Loader(indexed_tars(tmp_path), "train", 4, decoded, seed=0).load(0)
    assert batch.captions == [""] * 4 and batch.faults == [] and [metadata_of(data) for data in batch.json] == [{}] * 4


@pytest.mark.parametrize(
    "data, metadata", [(b"", {}), (b"{", {}), (b"[1]", {}), (b"[" * 99_999, {}), (b'{"a": 1}', {"a": 1}), (b"\xff", {})]
)
def test_metadata_is_an_object_or_empty(data: bytes, metadata: dict) -> None:
    assert metadata_of(data) == metadata
