"""An export is read back with its metadata, leaves no shard of an earlier, larger one, and no broken picture in any."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from infra.compat.errors import RequestError
from pipelines import export
from pipelines.exporting import places
from pipelines.exporting.claim import claim
from pipelines.exporting.run import run_export
from pipelines.exporting.settings import ExportSettings
from pipelines.manifest import connect
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from sharding import ShardReader, faults, read_dataset
from tests.support.pictured import PART, jpeg, pictured
from tests.support.shards import numbered_dataset

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
    told = export.main(["--root", storage.root, "--stage", "1", "--dry-run", "--set", "export.samples_per_shard=2"])
    assert (told["shards"], told["train"], told["failed"]) == (3, 6, {}) and not Path(storage.full("partial")).exists()
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
            "repaired": bool,
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
    # Of a shard whose samples are all lost there is no tar.
    assert exported(storage.root, tmp_path / "single", 1, "--name", "single")["shards"] == 5
    names = [shard.name for shard in read_dataset(str(tmp_path / "single")).shards("train")]
    assert sorted(path.stem for path in (tmp_path / "single").glob("*.tar")) == names and len(names) == 5
    precious = out / "train-000001.tar"
    precious.write_bytes(b"precious")
    with pytest.raises(RequestError, match=r"holds train-000001.tar, which export 'stage1' did not write"):
        exported(storage.root, out, 2)
    assert precious.read_bytes() == b"precious" and set(captions(out)) == KEPT


def test_an_export_notices_that_captions_were_repaired(tmp_path: Path, ray_session: None) -> None:
    storage, out = pictured(tmp_path / "root", broken=False), tmp_path / "shards"
    exported(storage.root, out, 10)
    published = captions(out)
    ids = storage.read_parquet(PART.path("samples"), ["sample_id"])["sample_id"]
    judged = {"sample_id": ids, "keep": [True] * 8, "caption_repaired": ["a red thing", *[None] * 7]}
    storage.write_parquet(PART.path("stage2"), conform(pa.table(judged), "stage2"))
    write_receipt(storage, PART, Receipt("stage2", "coyo", PART.name, "f", "other", 8, 8))
    exported(storage.root, out, 10)
    assert captions(out) == ["a red thing" if caption == "red" else caption for caption in published]


def test_a_deleted_shard_and_one_with_a_broken_receipt_are_written_again(tmp_path: Path, ray_session: None) -> None:
    storage, out = pictured(tmp_path / "root", broken=False), tmp_path / "shards"
    exported(storage.root, out, 2)
    before = {path.name: path.read_bytes() for path in out.glob("*-*")}
    (out / "train-000000.tar").unlink()
    (out / "train-000001.index.parquet").unlink()
    for number, text in enumerate(("{", "[]", '{"fingerprint": "x"}')):
        if number:
            (out / f"receipts/train-00000{number}.json").write_text(text)
        assert exported(storage.root, out, 2)["failed"] == {}
        assert {path.name: path.read_bytes() for path in out.glob("*-*")} == before


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


def test_an_edit_of_what_writes_shards_writes_them_again(
    tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, out = pictured(tmp_path / "root"), tmp_path / "shards"
    claimed = claim(storage, "stage1", Storage(str(out)), force=False)
    settings = ExportSettings(stage=1, samples_per_shard=6)
    outcome = run_export(storage, [PART], settings, "stage1", claimed)
    assert outcome.counts["exported"] == 5

    def written_again() -> bool:
        before = (out / "train-000000.tar").stat().st_mtime_ns
        run_export(storage, [PART], settings, "stage1", claim(storage, "stage1", Storage(str(out)), force=False))
        return (out / "train-000000.tar").stat().st_mtime_ns != before

    # The picture that is none is looked for again, so the shard is written again: it is left out of this comparison.
    fetched = storage.read_parquet(PART.path("fetch"))
    status = ["failed" if number == 5 else value for number, value in enumerate(fetched["status"].to_pylist())]
    storage.write_parquet(PART.path("fetch"), fetched.set_column(1, fetched.schema.field("status"), [status]))
    write_receipt(storage, PART, Receipt("fetch", "coyo", PART.name, "f", "d2", 8, 8))
    assert written_again() and not written_again()
    monkeypatch.setattr("sharding.sample.MEMBERS", ("json", "image", "text"))
    assert written_again()


def test_files_of_any_name_are_scattered_back_to_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sharding.index", "sharding.writer", "pipelines.exporting.places"):
        monkeypatch.setattr(f"{module}.index_file", lambda shard: f"{shard}.places")
    (tmp_path / "out").mkdir()
    numbered_dataset(tmp_path / "out", [2])
    source = {"shard": "train-000000", "is_there": True, "lost": [{"sample_id": 7, "reason": "changed"}]}
    rows = places._places_in(source, out=Storage(str(tmp_path / "out")))
    assert rows.to_pylist() == [
        {"sample_id": 0, "shard": "train-000000", "position": 0, "split": "train", "error": None},
        {"sample_id": 1, "shard": "train-000000", "position": 1, "split": "train", "error": None},
        {"sample_id": 7, "shard": None, "position": None, "split": "train", "error": "changed"},
    ]
