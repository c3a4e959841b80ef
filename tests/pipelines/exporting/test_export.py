"""An export is read back with its metadata, leaves no shard of an earlier, larger one, and no broken picture in any."""

import json
from pathlib import Path

import pytest

from infra.compat.errors import RequestError
from pipelines import export
from pipelines.manifest import connect
from pipelines.manifest.storage import Storage
from sharding import ShardReader, faults, read_dataset
from tests.support.pictured import PART, jpeg, pictured

KEPT = {"red", "a red square", "green", "blue", ""}


def exported(root: str, out: Path, samples_per_shard: int, *options: str) -> dict:
    sizes = ["--set", f"export.samples_per_shard={samples_per_shard}", "--set", "export.holdout=0"]
    return export.main(["--root", root, "--stage", "1", "--out", str(out), *sizes, *options])


def captions(out: Path) -> list[str]:
    reader = ShardReader(read_dataset(str(out)), "train")
    return [reader.read(shard, row).text for shard, size in enumerate(reader.sizes()) for row in range(size)]


def replace_picture(storage: Storage, offset: int, data: bytes) -> None:
    with Path(storage.full("images/a.tar")).open("r+b") as handle:
        handle.seek(offset)
        handle.write(data)


def test_an_export_owns_its_shards_and_exports_what_was_fetched(tmp_path: Path, ray_session: None) -> None:
    storage, out = pictured(tmp_path / "root"), tmp_path / "shards"
    out.mkdir()
    (out / "notes.tar").write_bytes(b"somebody's own")
    counts = exported(storage.root, out, 2)
    # One of the six pictures is none: it is counted and named, and in no shard.
    assert counts["shards"] == 3 and counts["lost"] == 1 and counts["exported"] == 5
    assert counts["failed"] == {
        "images/a.tar": "1 of its pictures are not exported (1 not_an_image); put the tar back as it was fetched, or run "
        "`pairmill fetch --redo`"
    }
    assert set(captions(out)) == KEPT and all(size > 0 for size in ShardReader(read_dataset(str(out)), "train").sizes())
    rows = (
        connect(storage.root).sql("select caption, shard is null, export_error from manifest where split is not null").fetchall()
    )
    assert [row for row in rows if row[1]] == [("what", True, "not_an_image")] and len(rows) == 6
    # A smaller export removes its own shards of the larger one, and nothing else.
    assert exported(storage.root, out, 10)["shards"] == 1
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {
        "dataset.json",
        "train-000000.tar",
        "train-000000.index.parquet",
        "receipts/train-000000.json",
        "receipts/export.json",
        "notes.tar",
    }
    assert list(faults(str(out))) == []
    reader = ShardReader(read_dataset(str(out)), "train")
    for sample in (reader.read(0, row) for row in range(5)):
        metadata = json.loads(sample.json)
        assert {name: type(value) for name, value in metadata.items()} == {
            "sample_id": int,
            "url": str,
            "source": str,
            "language": str,
            "width": int,
            "height": int,
            "synthetic": bool,
        }
        assert metadata["sample_id"] == sample.sample_id and metadata["source"] == "coyo"
    # A picture that was overwritten after fetch is left out of the next export; the one before is not touched.
    place = storage.read_parquet(PART.path("fetch"), ["offset"])["offset"].to_pylist()[2]
    replace_picture(storage, place, jpeg("white"))
    counts = exported(storage.root, tmp_path / "second", 10, "--name", "second")
    assert (
        counts["lost"] == 2
        and "1 changed" in counts["failed"]["images/a.tar"]
        and set(captions(tmp_path / "second")) == KEPT - {"green"}
    )
    replace_picture(storage, place, jpeg("green"))
    assert exported(storage.root, tmp_path / "second", 10, "--name", "second")["lost"] == 1
    assert set(captions(tmp_path / "second")) == KEPT
    precious = out / "train-000001.tar"
    precious.write_bytes(b"precious")
    with pytest.raises(
        RequestError, match=r"holds 1 files like shards that export 'stage1' did not write \(train-000001.tar …\)"
    ):
        exported(storage.root, out, 2)
    assert precious.read_bytes() == b"precious" and set(captions(out)) == KEPT


def test_pictures_of_several_types_need_a_setting(tmp_path: Path, ray_session: None) -> None:
    storage = pictured(tmp_path / "root")
    fetched = storage.read_parquet(PART.path("fetch"))
    mimes = ["image/jpeg", "image/jpeg", "image/png", "image/jpeg", "image/jpeg", None, None, "image/jpeg"]
    place = fetched.column_names.index("mime")
    storage.write_parquet(PART.path("fetch"), fetched.set_column(place, fetched.schema.field("mime"), [mimes]))
    with pytest.raises(RequestError, match=r"of several types \(4 jpg, 1 png\).*export.pictures to jpg"):
        exported(storage.root, tmp_path / "out", 10)
    assert not list((tmp_path / "out").glob("*-*"))
    # The picture that is called a PNG is a JPEG: as JPEG all are exported as they are.
    assert exported(storage.root, tmp_path / "out", 10, "--set", "export.pictures=jpg")["exported"] == 5
